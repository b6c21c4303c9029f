//! What Redis does on this machine: pipelined `INCR`, the append-only file synced every second.
//!
//! A counter in Redis is the least that anybody would build instead of a meter. It is no equal: it
//! knows no event twice, keeps nothing of it, draws no lines, and may lose its last second.
//!
//! Not here: Redis itself. Without `redis-server` and `redis-benchmark` this baseline is left out.

use std::{net::TcpListener, path::Path, process::Stdio, time::Duration};

use tempfile::TempDir;
use tokio::{
    net::TcpStream,
    process::{Child, Command},
};

use crate::{Failure, machine, options::Bench, report::Figure};

/// Commands in one pipeline.
const PIPELINE: &str = "100";
const CONNECTIONS: &str = "4";
/// Requests of a first run that tells how many the real one needs.
const PROBE_REQUESTS: u64 = 200_000;
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Much longer than any run that is asked for.
const BENCHMARK_TIMEOUT: Duration = Duration::from_mins(20);
const POLL: Duration = Duration::from_millis(20);

/// A Redis of our own, killed when dropped.
#[derive(Debug)]
pub(crate) struct Redis {
    _server: Child,
    _folder: TempDir,
    port: String,
    /// Different counters: as many as there are customers.
    counters: String,
}

impl Redis {
    /// Starts a server on a free port of the loopback; nothing if there is none on this machine.
    pub(crate) async fn start(options: &Bench) -> Result<Option<Self>, Failure> {
        let folder = machine::folder(options.data_dir.as_deref())?;
        let port = free_port()?;
        let Some(server) = serve(folder.path(), &port) else {
            machine::say("there is no redis-server here: that baseline is left out");
            return Ok(None);
        };
        let counters = options.customers().to_string();
        let redis = Self { _server: server, _folder: folder, port, counters };
        let deadline = machine::now() + START_TIMEOUT;
        // `redis-benchmark` with fewer requests than a pipeline holds may never end.
        while TcpStream::connect(format!("127.0.0.1:{}", redis.port)).await.is_err() {
            if machine::now() > deadline {
                return Err("redis-server did not answer in time".into());
            }
            machine::sleep(POLL).await;
        }
        Ok(Some(redis))
    }

    /// `INCR` a second, over about so many seconds.
    pub(crate) async fn increments(&self, seconds: u64) -> Result<Figure, Failure> {
        let probed = self.benchmark(PROBE_REQUESTS).await?;
        let rate = self.benchmark((probed * seconds as f64) as u64).await?;
        Ok(Figure::new("Redis, pipelined INCR", rate, "INCR/s"))
    }

    async fn benchmark(&self, requests: u64) -> Result<f64, Failure> {
        let run = Command::new("redis-benchmark")
            .args(["-h", "127.0.0.1", "-p", &self.port, "-t", "incr", "-P", PIPELINE])
            .args(["-c", CONNECTIONS, "-r", &self.counters, "-n", &requests.to_string(), "--csv"])
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(BENCHMARK_TIMEOUT, run).await??;
        let text = String::from_utf8_lossy(&output.stdout);
        rate(&text).ok_or_else(|| format!("redis-benchmark gave no rate: {text}").into())
    }
}

fn serve(folder: &Path, port: &str) -> Option<Child> {
    let server = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--port", port, "--dir"])
        .arg(folder)
        .args(["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    server.ok()
}

fn free_port() -> Result<String, Failure> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string())
}

/// The rate in a line such as `"INCR","892857.12","0.2",…`.
fn rate(csv: &str) -> Option<f64> {
    let line = csv.lines().find(|it| it.starts_with("\"INCR\""))?;
    line.split(',').nth(1)?.trim_matches('"').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read() {
        let csv = "\"test\",\"rps\",\"avg\"\n\"INCR\",\"892857.12\",\"0.2\"\n";
        assert_eq!(rate(csv).map(|it| it as u64), Some(892_857));
        assert_eq!(rate("Could not connect"), None);
    }
}
