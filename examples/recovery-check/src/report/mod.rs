//! `report`: one HTML page of a recording, for those who were not there.

pub(crate) mod axis;
pub(crate) mod counters;
mod findings;
pub(crate) mod lanes;
mod page;
pub(crate) mod rates;
mod read;
pub(crate) mod story;
mod timeline;
mod verdict;
pub(crate) mod words;

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use crate::cli;
use crate::exit::{Failed, Outcome};
use crate::output::Output;
use story::Story;

pub(crate) fn run(args: cli::Report) -> Result<Outcome, Failed> {
    let path = args.recording.display();
    let mut story = Story::new();
    let unread = read::lines(&args.recording, |line| story.take(line))
        .map_err(|e| Failed::configuration(format!("cannot read {path}: {e}")))?;
    let Some(story) = story.told(unread) else {
        return Err(Failed::configuration(format!(
            "{path} holds no line of a recording; make one with `recovery-check record --out FILE`"
        )));
    };
    let (verdict, criteria) = verdict::judge(&story, args.window);
    let page = page::html(&story, verdict, &criteria, args.window);
    replace(&args.out, page.as_bytes())
        .map_err(|e| Failed::unknown(format!("cannot write {}: {e}", args.out.display())))?;
    Output::new().line(&format!(
        "{}: {}, {} recorded, {}",
        args.out.display(),
        verdict.as_str().replace('_', " "),
        words::span(story.to - story.from),
        words::count(story::episodes(&story).len(), "episode") + " of trouble",
    ))?;
    Ok(Outcome::AsAsked)
}

/// Whole or not at all: a page that somebody has open is never half of one.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let draft = path.with_file_name(name);
    let written = fs::File::create_new(&draft)
        .and_then(|mut file| file.write_all(bytes))
        .and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}
