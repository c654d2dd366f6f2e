//! `record`: what a client and its service say, line by line into a file, for `report` to show.

mod sample;

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::Instant;

use evenkeel::Lifecycle;
use serde::Serialize;
use tokio::time::sleep;

use crate::cli;
use crate::connect::{connect, probe};
use crate::exit::{Failed, Outcome};
use crate::output::Output;
use crate::recording::{Begin, End, Written, place};
use crate::stack::shutdown_signal;
use crate::status_line::{StatusLine, elapsed_ms, seconds, wall_ms};
pub(crate) use sample::samples;

pub(crate) async fn run(service: &cli::Service, args: cli::Record) -> Result<Outcome, Failed> {
    let client = connect(service)?;
    let edge = service.edge.clone().unwrap_or_default();
    let probe = probe(service)?;
    let mut file = Recording::open(&args.out, args.append)?;
    let mut interrupted = pin!(shutdown_signal()?);
    let begun = Instant::now();
    file.write(&Written::Begin(&Begin {
        v: 1,
        at_ms: wall_ms(),
        tool: crate::USER_AGENT.to_owned(),
        edge: place(&edge),
        origin: service.origin.as_deref().map(place),
        interval_ms: args.interval.as_millis() as u64,
    }))?;
    let mut statuses = client.status_changes();
    let started = client.start();
    started.map_err(|e| Failed::configuration(e.to_string()))?;

    let told: Result<u64, Failed> = async {
        let mut over = pin!(async {
            match args.span {
                Some(span) => sleep(span).await,
                None => std::future::pending().await,
            }
        });
        let mut looks = samples(probe, args.interval, begun);
        let mut samples = 0;
        loop {
            tokio::select! {
                biased;
                () = &mut interrupted => break,
                status = statuses.next() => match status {
                    Some(status) if status.lifecycle == Lifecycle::Stopped => {}
                    Some(status) => file.write(&StatusLine::new(&status, begun))?,
                    None => break,
                },
                Some(sample) = looks.recv() => {
                    file.write(&Written::Sample(&sample))?;
                    samples += 1;
                }
                () = &mut over => break,
            }
        }
        file.write(&StatusLine::new(&client.status(), begun))?;
        file.write(&Written::End(&End {
            at_ms: wall_ms(),
            elapsed_ms: elapsed_ms(begun),
        }))?;
        Ok(samples)
    }
    .await;
    client.stop().await;
    let samples = told?;
    let path = args.out.display();
    Output::new().line(&format!(
        "{samples} samples in {}: {path}\nShow them with: recovery-check report {path} --out report.html",
        seconds(begun.elapsed()),
    ))?;
    Ok(Outcome::AsAsked)
}

/// The file, in which every line is whole as soon as it is written.
struct Recording {
    file: File,
    path: PathBuf,
}

impl Recording {
    fn open(path: &Path, append: bool) -> Result<Self, Failed> {
        let unable = |e: io::Error| {
            let hint = match e.kind() {
                io::ErrorKind::AlreadyExists => "; give another name, or --append to go on in it",
                io::ErrorKind::NotFound => "; does its folder exist?",
                _ => "",
            };
            Failed::configuration(format!("--out: cannot write {}: {e}{hint}", path.display()))
        };
        let mut options = OpenOptions::new();
        if append {
            options.read(true).append(true).create(true);
        } else {
            options.write(true).create_new(true);
        }
        let mut file = options.open(path).map_err(unable)?;
        if append && !ends_whole(&mut file).map_err(unable)? {
            // A run that was killed may have left half a line.
            file.write_all(b"\n").map_err(unable)?;
        }
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    fn write(&mut self, line: &impl Serialize) -> Result<(), Failed> {
        let unable = |e: io::Error| {
            Failed::unknown(format!(
                "cannot write {}: {e}; what it holds so far can be shown with `report`",
                self.path.display()
            ))
        };
        let mut bytes = serde_json::to_vec(line).map_err(|e| unable(e.into()))?;
        bytes.push(b'\n');
        self.file.write_all(&bytes).map_err(unable)
    }
}

fn ends_whole(file: &mut File) -> io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}
