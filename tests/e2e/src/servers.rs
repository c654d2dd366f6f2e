//! Postgres and Redis, as processes of the test's own: in a temporary folder, on a free port, without
//! root's rights.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, getuid, kill_process, test_kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use tokio_postgres::{Client, NoTls, Row};

use crate::process::send;

/// Whether this machine has both; prints one line where it does not.
///
/// # Panics
///
/// When one is missing and `CI=true`: there nothing may be left out.
#[must_use]
pub fn here() -> bool {
    let why = match (postgres_folder(), find("redis-server")) {
        (None, _) => "no Postgres: apt-get install postgresql",
        (_, None) => "no Redis: apt-get install redis-server",
        _ => return true,
    };
    crate::missing("Postgres and Redis", why);
    false
}

/// A Postgres with an empty database.
#[derive(Debug)]
pub struct Postgres {
    child: Child,
    programs: PathBuf,
    folder: TempDir,
    port: u16,
    connections_max: u32,
}

impl Postgres {
    /// Makes a database and starts its server; it takes connections when this returns.
    ///
    /// # Panics
    ///
    /// When it does not start, or is not [`here`].
    pub async fn start(connections_max: u32) -> Self {
        let Some(programs) = postgres_folder() else {
            panic!("no Postgres")
        };
        let folder = own_folder();
        let data = folder.path().join("data");
        let made = as_nobody(&programs.join("initdb"))
            .arg("--pgdata")
            .arg(&data)
            .args(["--username=evenkeel", "--auth=trust", "--no-sync"])
            .args(["--encoding=UTF8", "--no-locale"])
            .stdout(Stdio::null())
            .output();
        let made = made.await.unwrap_or_else(|error| panic!("initdb: {error}"));
        let complaints = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "initdb: {complaints}");
        let port = free_port();
        let child = serve(&programs, &folder, port, connections_max);
        let mut postgres = Self {
            child,
            programs,
            folder,
            port,
            connections_max,
        };
        postgres.answers().await;
        postgres
    }

    /// What `stack --database` takes.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://evenkeel@127.0.0.1:{}/postgres", self.port)
    }

    /// SIGINT to its first process: a fast shutdown, which breaks off what runs. It is gone when this
    /// returns.
    pub async fn shut_down_fast(&mut self) {
        send(&self.child, Signal::INT);
        let _ = timeout(UP_WITHIN, self.child.wait()).await;
    }

    /// SIGKILL to every process of it, as when the machine loses its power.
    ///
    /// # Panics
    ///
    /// When one is still there after 10 s.
    pub async fn kill(&mut self) {
        // A first process that stands still starts no others.
        send(&self.child, Signal::STOP);
        let pids = self.pids();
        for pid in &pids {
            let _ = kill_process(*pid, Signal::KILL);
        }
        let _ = self.child.kill().await;
        for _ in 0..1_000 {
            // While one is left the data cannot be served again.
            if pids.iter().all(|pid| test_kill_process(*pid).is_err()) {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("Postgres does not die");
    }

    /// SIGSTOP or SIGCONT to every process of it.
    pub fn signal(&self, signal: Signal) {
        for pid in self.pids() {
            let _ = kill_process(pid, signal);
        }
    }

    /// Starts the server on the same data.
    ///
    /// # Panics
    ///
    /// When it does not take connections within 30 s.
    pub async fn restart(&mut self) {
        self.child = serve(
            &self.programs,
            &self.folder,
            self.port,
            self.connections_max,
        );
        self.answers().await;
    }

    /// A connection of the test's own.
    ///
    /// # Errors
    ///
    /// As Postgres says.
    pub async fn connect(&self) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await?;
        tokio::spawn(async move {
            // Its end is seen by whoever uses the client.
            let _ = connection.await;
        });
        Ok(client)
    }

    /// Runs one statement and returns its rows.
    ///
    /// # Panics
    ///
    /// When it cannot.
    pub async fn sql(&self, statement: &str) -> Vec<Row> {
        let rows = async { self.connect().await?.query(statement, &[]).await };
        let rows = rows.await;
        rows.unwrap_or_else(|error| panic!("{statement}: {error:?}"))
    }

    async fn answers(&mut self) {
        for _ in 0..300 {
            if let Ok(Some(ended)) = self.child.try_wait() {
                panic!("Postgres ended: {ended}: {}", self.log());
            }
            if self.connect().await.is_ok() {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("Postgres takes no connections: {}", self.log());
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Its first process and all that this one started.
    fn pids(&self) -> Vec<Pid> {
        let Some(first) = self.child.id() else {
            return Vec::new();
        };
        let children = format!("/proc/{first}/task/{first}/children");
        let children = std::fs::read_to_string(children).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|id| id.parse().ok());
        let first = i32::try_from(first).ok();
        let all = first.into_iter().chain(children);
        all.filter_map(Pid::from_raw).collect()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        for signal in [Signal::CONT, Signal::KILL] {
            self.signal(signal);
        }
    }
}

fn serve(programs: &Path, folder: &TempDir, port: u16, connections_max: u32) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(folder.path().join("log"));
    let log = log.unwrap_or_else(|error| panic!("the log of Postgres: {error}"));
    let child = as_nobody(&programs.join("postgres"))
        .arg("-D")
        .arg(folder.path().join("data"))
        .arg("-k")
        .arg(folder.path())
        .args(["-h", "127.0.0.1", "-p", &port.to_string()])
        .args(["-c", &format!("max_connections={connections_max}")])
        // Killed processes lose nothing that the system has been given; only its own end would.
        .args(["-c", "fsync=off", "-c", "shared_buffers=16MB"])
        .args(["-c", "dynamic_shared_memory_type=mmap"])
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn();
    child.unwrap_or_else(|error| panic!("Postgres: {error}"))
}

/// A Redis that keeps nothing over its end.
#[derive(Debug)]
pub struct Redis {
    child: Child,
    folder: TempDir,
    port: u16,
}

impl Redis {
    /// Starts one; it answers when this returns.
    ///
    /// # Panics
    ///
    /// When it does not start, or is not [`here`].
    pub async fn start() -> Self {
        let folder = own_folder();
        let port = free_port();
        let child = redis(&folder, port);
        let mut redis = Self {
            child,
            folder,
            port,
        };
        redis.answers().await;
        redis
    }

    /// What `stack --redis` takes.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// SIGKILL; it is gone when this returns.
    pub async fn kill(&mut self) {
        let _ = self.child.kill().await;
    }

    /// Sends a signal, `STOP` and `CONT` among them.
    pub fn signal(&self, signal: Signal) {
        send(&self.child, signal);
    }

    /// Starts it again, empty.
    ///
    /// # Panics
    ///
    /// When it does not answer within 30 s.
    pub async fn restart(&mut self) {
        self.child = redis(&self.folder, self.port);
        self.answers().await;
    }

    /// Sends one command in its simplest form, such as `FLUSHALL`.
    ///
    /// # Errors
    ///
    /// The connection.
    pub async fn tell(&self, command: &str) -> std::io::Result<String> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        stream
            .write_all(format!("{command}\r\n").as_bytes())
            .await?;
        let mut answer = [0; 512];
        let read = timeout(Duration::from_secs(5), stream.read(&mut answer)).await??;
        Ok(String::from_utf8_lossy(&answer[..read]).into_owned())
    }

    async fn answers(&mut self) {
        for _ in 0..300 {
            if self
                .tell("PING")
                .await
                .is_ok_and(|said| said.contains("PONG"))
            {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
        panic!("Redis does not answer");
    }
}

fn redis(folder: &TempDir, port: u16) -> Child {
    let program = find("redis-server").unwrap_or_else(|| panic!("no Redis"));
    let child = as_nobody(&program)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--save", "", "--appendonly", "no", "--dir"])
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    child.unwrap_or_else(|error| panic!("Redis: {error}"))
}

/// Postgres refuses to run as root, and nothing else here needs root's rights either.
fn as_nobody(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("LC_ALL", "C").stdin(Stdio::null());
    if getuid().is_root() {
        command.uid(NOBODY).gid(NOBODY).current_dir("/");
    }
    command
}

/// A folder that the servers may write to.
fn own_folder() -> TempDir {
    let folder = TempDir::new().and_then(|folder| {
        if getuid().is_root() {
            chown(folder.path(), Some(NOBODY), Some(NOBODY))?;
        }
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o700))?;
        Ok(folder)
    });
    folder.unwrap_or_else(|error| panic!("a temporary folder: {error}"))
}

/// Where Debian keeps the server's programs, or wherever they are on the path.
fn postgres_folder() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let folders = versions.flatten().map(|version| version.path().join("bin"));
    let mut folders: Vec<_> = folders
        .filter(|bin| bin.join("postgres").exists())
        .collect();
    folders.sort();
    let on_path = || find("postgres").and_then(|program| Some(program.parent()?.to_owned()));
    let folder = folders.pop().or_else(on_path)?;
    folder.join("initdb").exists().then_some(folder)
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let mut programs = std::env::split_paths(&path).map(|folder| folder.join(program));
    programs.find(|program| program.exists())
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let port = listener.and_then(|listener| Ok(listener.local_addr()?.port()));
    port.unwrap_or_else(|error| panic!("no port: {error}"))
}

const NOBODY: u32 = 65_534;
const UP_WITHIN: Duration = Duration::from_secs(30);
