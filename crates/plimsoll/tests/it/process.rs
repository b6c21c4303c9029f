//! The real binary as a child process.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
};

use crate::{http::Client, wait};

/// The key that servers of these tests are started with.
pub(crate) const KEY: &str = "plm_live_0123456789abcdef0123456789abcdef";

/// The program with the environment of a fresh machine.
pub(crate) fn plimsoll() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_plimsoll"));
    command.env_clear().stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub(crate) fn run(command: &mut Command) -> Output {
    command.output().expect("the program starts")
}

/// How servers of one test are started: the same way again after each stop.
#[derive(Debug)]
pub(crate) struct Launch {
    folder: tempfile::TempDir,
    database_url: Option<String>,
}

impl Launch {
    /// In a new folder, on SQLite.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        Self { folder, database_url: None }
    }

    /// In a new folder, on PostgreSQL.
    pub(crate) fn on_postgres(url: &str) -> Self {
        Self { database_url: Some(url.to_owned()), ..Self::new() }
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a server and waits until it is ready.
    pub(crate) fn start(&self) -> Server {
        self.start_with(|_| {})
    }

    /// The same, after `change` has looked at the command.
    pub(crate) fn start_with(&self, change: impl FnOnce(&mut Command)) -> Server {
        self.launch(plimsoll(), change)
    }

    /// The same, by way of a program that `wrap` gives the path of the real one to.
    pub(crate) fn start_through(&self, wrap: impl FnOnce(&str) -> Command) -> Server {
        let mut command = wrap(env!("CARGO_BIN_EXE_plimsoll"));
        command.env_clear().stdin(Stdio::null());
        self.launch(command, |_| {})
    }

    fn launch(&self, mut command: Command, change: impl FnOnce(&mut Command)) -> Server {
        let stdout = self.file("stdout");
        let stderr = File::options().create(true).append(true).open(self.file("stderr"));
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(self.data_dir())
            .env("PLIMSOLL_BOOTSTRAP_KEY", KEY)
            .env("PLIMSOLL_ALLOW_DESTINATIONS", "127.0.0.0/8")
            .stdout(File::create(&stdout).expect("a file"))
            .stderr(stderr.expect("a file"));
        if let Some(url) = &self.database_url {
            command.env("PLIMSOLL_DATABASE_URL", url);
        }
        change(&mut command);
        let mut server = Server {
            child: command.spawn().expect("the program starts"),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            stdout,
            stderr: self.file("stderr"),
        };
        server.address = server.wait_for_address();
        server.wait_until_ready();
        server
    }
}

/// A running server. It is killed when the test ends.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Server {
    /// A client with the admin key of these tests.
    pub(crate) fn client(&self) -> Client {
        self.client_with(KEY)
    }

    pub(crate) fn client_with(&self, key: &str) -> Client {
        Client { address: self.address, key: key.to_owned() }
    }

    /// What it printed so far.
    pub(crate) fn printed(&self) -> String {
        read(&self.stdout)
    }

    /// What it logged so far, servers started before from the same launch included.
    pub(crate) fn logged(&self) -> String {
        read(&self.stderr)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_none()
    }

    /// Ends it as a power failure would.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("a child of ours");
        self.child.wait().expect("a child of ours");
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status().expect("kill(1)");
        assert!(sent.success());
        wait::until("the server stops", || self.child.try_wait().expect("a child of ours"))
    }

    fn wait_for_address(&mut self) -> SocketAddr {
        wait::until("the server prints its address", || {
            let printed = self.printed();
            let rest = printed.split("listening on http://").nth(1);
            // A line that is being printed has no end yet.
            let address = rest.and_then(|it| it.split_once('\n')).map(|(address, _)| address);
            if address.is_none() {
                assert!(self.is_running(), "the server has ended: {}", self.logged());
            }
            address.map(|it| it.parse().expect("an address"))
        })
    }

    fn wait_until_ready(&mut self) {
        let client = self.client();
        wait::until("the server is ready", || {
            assert!(self.is_running(), "the server has ended: {}", self.logged());
            let answer = client.send("GET", "/readyz", &[]).ok()?;
            (answer.status == 200).then_some(())
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only for a child that has ended.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
