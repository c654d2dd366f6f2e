//! A network namespace with one way out of it, to this machine: for processes whose network has trouble of its own.
//!
//! Its addresses are of those that documentation may use (RFC 5737), so that nothing real is hidden by them. It is
//! gone when it is dropped.

use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A namespace, its link to this machine and the addresses at both ends.
#[derive(Debug)]
pub struct Netns {
    name: String,
    outside: String,
    within: String,
    host: Ipv4Addr,
}

impl Netns {
    /// Whether this machine allows one; otherwise why not.
    ///
    /// # Errors
    ///
    /// What the system said.
    pub fn possible() -> Result<(), String> {
        Self::create().map(drop)
    }

    /// Makes one, with its link up.
    ///
    /// # Errors
    ///
    /// What the system said.
    pub fn create() -> Result<Self, String> {
        let mut why = String::new();
        for block in 0..BLOCKS {
            let name = format!("evenkeel-{block}");
            // Whoever makes the name has the block.
            match ip(&["netns", "add", &name]) {
                Ok(()) => return Self::furnish(name, block),
                Err(error) => why = error,
            }
            if !why.contains("File exists") {
                break;
            }
        }
        Err(why)
    }

    fn furnish(name: String, block: u8) -> Result<Self, String> {
        let made = Self {
            outside: format!("ek{block}out"),
            within: format!("ek{block}in"),
            host: Ipv4Addr::new(198, 51, 100, block * 4 + 1),
            name,
        };
        let (outside, within) = (made.outside.as_str(), made.within.as_str());
        let host = format!("{}/30", made.host);
        let guest = format!("{}/30", made.guest());
        ip(&[
            "link", "add", outside, "type", "veth", "peer", "name", within, "netns", &made.name,
        ])?;
        ip(&["address", "add", &host, "dev", outside])?;
        ip(&["link", "set", outside, "up"])?;
        made.ip(&["address", "add", &guest, "dev", within])?;
        made.ip(&["link", "set", "lo", "up"])?;
        made.up()?;
        Ok(made)
    }

    /// This machine's end of the link.
    #[must_use]
    pub const fn host(&self) -> Ipv4Addr {
        self.host
    }

    /// The end within.
    #[must_use]
    pub const fn guest(&self) -> Ipv4Addr {
        let [a, b, c, d] = self.host.octets();
        Ipv4Addr::new(a, b, c, d + 1)
    }

    /// Gives it its interface back.
    ///
    /// # Errors
    ///
    /// What the system said.
    pub fn up(&self) -> Result<(), String> {
        self.ip(&["link", "set", &self.within, "up"])
    }

    /// Takes its interface away.
    ///
    /// # Errors
    ///
    /// What the system said.
    pub fn down(&self) -> Result<(), String> {
        self.ip(&["link", "set", &self.within, "down"])
    }

    /// Delays everything in each direction and loses a part of it, by the kernel's `netem`.
    ///
    /// # Errors
    ///
    /// What the system said: not every kernel has it.
    pub fn netem(&self, delay: Duration, loss_percent: u8) -> Result<(), String> {
        let delay = format!("{}ms", delay.as_millis());
        let loss = format!("{loss_percent}%");
        let queue = |device| {
            [
                "qdisc", "replace", "dev", device, "root", "netem", "delay", &delay, "loss", &loss,
            ]
            .map(str::to_owned)
        };
        run("tc", queue(&self.outside))?;
        run(
            "tc",
            ["-n".to_owned(), self.name.clone()]
                .into_iter()
                .chain(queue(&self.within)),
        )
    }

    /// Loses a part of the packets in each direction, by the kernel's packet filter: for kernels without `netem`.
    ///
    /// # Errors
    ///
    /// What the system said.
    pub fn lose(&self, percent: u8) -> Result<(), String> {
        let device = &self.within;
        let chain = |name: &str, hook: &str, meta: &str| {
            format!(
                "add chain inet weather {name} {{ type filter hook {hook} priority 0; }}\n\
                 add rule inet weather {name} {meta} {device} numgen random mod 100 < {percent} drop\n"
            )
        };
        let rules = [
            "add table inet weather\n".to_owned(),
            chain("in", "input", "iifname"),
            chain("out", "output", "oifname"),
        ]
        .concat();
        run("ip", ["netns", "exec", &self.name, "nft", &rules])
    }

    /// Has names within looked up by this server, which gets a second for an answer.
    ///
    /// # Errors
    ///
    /// What the system said.
    pub fn resolve_with(&self, server: Ipv4Addr) -> Result<(), String> {
        let folder = self.settings();
        let text = format!("nameserver {server}\noptions timeout:1 attempts:1\n");
        let written = std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(folder.join("resolv.conf"), text));
        written.map_err(|error| error.to_string())
    }

    /// A program within; it is the process itself that is started, not a parent of it.
    #[must_use]
    pub fn command(&self, program: impl AsRef<OsStr>) -> tokio::process::Command {
        let mut command = tokio::process::Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command.kill_on_drop(true);
        command
    }

    fn ip(&self, arguments: &[&str]) -> Result<(), String> {
        ip(&[&["-n", &self.name], arguments].concat())
    }

    /// What `ip netns exec` lays over `/etc`.
    fn settings(&self) -> PathBuf {
        PathBuf::from("/etc/netns").join(&self.name)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.settings());
        // The link would outlive the name while a process within still ends.
        let _ = ip(&["link", "delete", &self.outside]);
        let _ = ip(&["netns", "delete", &self.name]);
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    run("ip", arguments)
}

fn run(
    program: &str,
    arguments: impl IntoIterator<Item = impl AsRef<OsStr>>,
) -> Result<(), String> {
    let mut command = Command::new(program);
    let done = command.args(arguments).stdin(Stdio::null()).output();
    let done = done.map_err(|error| format!("{program}: {error}"))?;
    match done.status.success() {
        true => Ok(()),
        false => Err(format!(
            "{program}: {}",
            String::from_utf8_lossy(&done.stderr).trim()
        )),
    }
}

/// Four addresses each.
const BLOCKS: u8 = 64;
