//! The product as a child process: started on an empty folder, watched, stopped.
//!
//! Not here: what it is asked to do (`setup`, `workload`).

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{Failure, client::Connection, machine, options::Bench};

/// The first admin key of every store that the benchmark makes.
pub(crate) const KEY: &str = "plm_live_benchbenchbenchbenchbenchbench";

const START_TIMEOUT: Duration = Duration::from_secs(30);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

/// A running product. Dropping it kills the process and removes its folder.
#[derive(Debug)]
pub(crate) struct Product {
    child: Child,
    folder: TempDir,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// From the start of the process to its first `/readyz` of 200.
    pub(crate) start: Duration,
}

impl Product {
    /// Starts the release binary on an empty folder and waits until it is ready.
    pub(crate) async fn start(options: &Bench) -> Result<Self, Failure> {
        Self::start_in(machine::folder(options.data_dir.as_deref())?, options).await
    }

    /// Kills it in the middle of everything, and starts it again on what it left behind.
    pub(crate) async fn crash(self, options: &Bench) -> Result<Self, Failure> {
        let Self { mut child, folder, .. } = self;
        child.kill().await?;
        // A process that is to come writes its own.
        fs::remove_file(folder.path().join("data").join("address"))?;
        Self::start_in(folder, options).await
    }

    async fn start_in(folder: TempDir, options: &Bench) -> Result<Self, Failure> {
        let data = folder.path().join("data");
        let log = File::create(folder.path().join("log"))?;
        let begun = machine::now();
        let mut command = Command::new(binary(options)?);
        command
            .arg("serve")
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(&data)
            .env("PLIMSOLL_BOOTSTRAP_KEY", KEY)
            .env("PLIMSOLL_ALLOW_DESTINATIONS", "127.0.0.0/8")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        if let Some(url) = &options.database_url {
            command.arg("--database-url").arg(url);
        }
        for setting in &options.set {
            let (name, value) = setting.split_once('=').ok_or("--set takes NAME=VALUE")?;
            command.env(name, value);
        }
        let mut child = command.spawn()?;
        let address = match wait_until_ready(&mut child, &data).await {
            Ok(address) => address,
            Err(failure) => {
                let log = fs::read_to_string(folder.path().join("log")).unwrap_or_default();
                return Err(format!("{failure}; its log:\n{log}").into());
            }
        };
        Ok(Self { child, folder, address, start: begun.elapsed() })
    }

    /// The process id, for `/proc`.
    pub(crate) fn process(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Bytes of everything in the data folder.
    pub(crate) fn disk_bytes(&self) -> u64 {
        fs::read_dir(self.folder.path().join("data"))
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len()))
            .sum()
    }

    /// Asks it to stop with SIGTERM and waits; complains if it does not exit with 0.
    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        let process = self.process().to_string();
        Command::new("kill").args(["-TERM", &process]).status().await?;
        let status = tokio::time::timeout(STOP_TIMEOUT, self.child.wait()).await??;
        if status.success() {
            return Ok(());
        }
        let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        Err(format!("the product stopped with {status}; its log:\n{log}").into())
    }
}

fn binary(options: &Bench) -> Result<PathBuf, Failure> {
    let path = match &options.binary {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("plimsoll"),
    };
    if path.is_file() {
        return Ok(path);
    }
    let path = path.display();
    Err(format!("there is no {path}: cargo build --release -p plimsoll -p plimsoll-bench").into())
}

async fn wait_until_ready(child: &mut Child, data: &Path) -> Result<SocketAddr, Failure> {
    let deadline = machine::now() + START_TIMEOUT;
    while machine::now() < deadline {
        if let Some(status) = child.try_wait()? {
            return Err(format!("the product exited with {status}").into());
        }
        if let Some(address) = written_address(data)
            && is_ready(address).await
        {
            return Ok(address);
        }
        machine::sleep(POLL).await;
    }
    Err("the product was not ready in time".into())
}

fn written_address(data: &Path) -> Option<SocketAddr> {
    let text = fs::read_to_string(data.join("address")).ok()?;
    text.trim().trim_start_matches("http://").parse().ok()
}

async fn is_ready(address: SocketAddr) -> bool {
    let Ok(mut connection) = Connection::open(address).await else {
        return false;
    };
    let answer = connection.exchange(b"GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").await;
    answer.is_ok_and(|answer| answer.status == 200)
}
