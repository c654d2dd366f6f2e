//! The commands for scripts.

use std::collections::HashMap;
use std::io::{BufRead as _, Read as _};

use evenkeel::store::{Clash, Conflict, Query, Resolution, StoreError};
use evenkeel::{Record, SqliteStore, SyncOnceError};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::app;
use crate::cli::{self, Cli, Command, Service, Side};
use crate::exit::{Code, Failed};
use crate::note::{self, Fields, Note};
use crate::output::Output;
use crate::session;
use crate::write::{Writer, reason_words};

pub(crate) async fn run(cli: Cli, output: &Output) -> Result<Code, Failed> {
    let service = &cli.service;
    match cli.command {
        None => app::run(service).await,
        Some(Command::Add(args)) => add(service, args, output).await,
        Some(Command::List(args)) => list(service, args, output).await,
        Some(Command::Edit(args)) => edit(service, args, output).await,
        Some(Command::Rm(args)) => rm(service, args, output).await,
        Some(Command::Conflicts) => conflicts(service, output).await,
        Some(Command::Resolve(args)) => resolve(service, args, output).await,
        Some(Command::Parked) => parked(service, output).await,
        Some(Command::Retry(args)) => retry(service, args, output).await,
        Some(Command::Discard(args)) => discard(service, args, output).await,
        Some(Command::Sync(args)) => sync(service, args, output).await,
    }
}

async fn add(service: &Service, args: cli::Add, output: &Output) -> Result<Code, Failed> {
    let mut writer = Writer::open(service, args.wait, output).await?;
    let note = |content| Note {
        title: args.title.clone().unwrap_or_default(),
        content,
        pinned: args.pin,
    };
    if args.content != "-" {
        put(&mut writer, note(args.content.clone())).await?;
        return writer.finish().await;
    }
    let mut lines = lines();
    let mut failed = None;
    while let Some(line) = lines.recv().await {
        let written = match line {
            Ok(line) if line.trim().is_empty() => continue,
            Ok(line) => put(&mut writer, note(line)).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            failed = Some(error);
            break;
        }
    }
    // What was written before a failure still goes out, and is told.
    let code = writer.finish().await?;
    failed.map_or(Ok(code), Err)
}

async fn put(writer: &mut Writer<'_>, note: Note) -> Result<(), Failed> {
    let id = Uuid::new_v4().to_string();
    loop {
        match writer.store.put(&id, note.fields()).await {
            Ok(handle) => return writer.written(&id, handle),
            Err(StoreError::OutboxFull { .. }) if writer.room().await => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Standard input, a line at a time, as fast as they are taken.
fn lines() -> mpsc::Receiver<Result<String, Failed>> {
    let (sender, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut input = std::io::stdin().lock();
        loop {
            let mut line = Vec::new();
            let read = (&mut input)
                .take(LINE_BYTES_MAX)
                .read_until(b'\n', &mut line);
            let line = match read {
                Ok(0) => return,
                Ok(read) if read as u64 == LINE_BYTES_MAX => {
                    Err(Failed::usage("a line of the input is too long for a note"))
                }
                Ok(_) => String::from_utf8(line)
                    .map(|line| line.trim_end_matches(['\n', '\r']).to_owned())
                    .map_err(|_| Failed::usage("the input is not text in UTF-8")),
                Err(error) => Err(Failed::broken(format!("cannot read the input: {error}"))),
            };
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

async fn list(service: &Service, args: cli::List, output: &Output) -> Result<Code, Failed> {
    let store = session::open(service).await?;
    let states = states(&store).await?;
    let mut left = args.limit.unwrap_or(usize::MAX);
    let mut query = Query::default();
    while left > 0 {
        query.limit = left.min(PAGE);
        let page = store.list(query.clone()).await?;
        left -= page.items.len();
        for record in page.items {
            let state = states.get(&record.id).copied().unwrap_or("synced");
            let mut line = note::line(&record);
            line["state"] = state.into();
            output.say(&words(&record, state), &line)?;
        }
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    session::close(&store, None).await;
    Ok(Code::Done)
}

/// The records that are not simply as the server has them.
pub(crate) async fn states(
    store: &SqliteStore,
) -> Result<HashMap<String, &'static str>, StoreError> {
    let mut states = HashMap::new();
    for write in store.pending().await?.operations {
        states.insert(write.id, "waiting");
    }
    for conflict in store.conflicts().await? {
        states.insert(conflict.id, "conflict");
    }
    for parked in store.rejected().await? {
        states.insert(parked.id, "parked");
    }
    Ok(states)
}

fn words(record: &Record, state: &str) -> String {
    let note = Note::of(&record.fields);
    let pin = if note.pinned { "*" } else { " " };
    let state = if state == "synced" {
        String::new()
    } else {
        format!("  [{state}]")
    };
    format!("{} {pin} {}{state}", record.id, note.headline())
}

async fn edit(service: &Service, args: cli::Edit, output: &Output) -> Result<Code, Failed> {
    let changes = parts(&args.parts);
    if changes.is_empty() {
        return Err(Failed::usage(
            "change what? Give --title, --content, --pin or --unpin",
        ));
    }
    let mut writer = Writer::open(service, args.wait, output).await?;
    match writer.store.patch(&args.id, changes).await {
        Ok(handle) => writer.written(&args.id, handle)?,
        Err(StoreError::NotFound) => return Err(Failed::not_found(&args.id, "note")),
        Err(error) => return Err(error.into()),
    }
    writer.finish().await
}

fn parts(parts: &cli::Parts) -> Fields {
    let mut fields = Fields::new();
    if let Some(title) = &parts.title {
        fields.insert(note::TITLE.into(), title.as_str().into());
    }
    if let Some(content) = &parts.content {
        fields.insert(note::CONTENT.into(), content.as_str().into());
    }
    if parts.pin || parts.unpin {
        fields.insert(note::PINNED.into(), parts.pin.into());
    }
    fields
}

async fn rm(service: &Service, args: cli::Rm, output: &Output) -> Result<Code, Failed> {
    let mut writer = Writer::open(service, args.wait, output).await?;
    for id in &args.ids {
        // To the store a note that is not there is as good as deleted; a mistyped id is not.
        if writer.store.get(id).await?.is_none() {
            return Err(Failed::not_found(id, "note"));
        }
    }
    for id in &args.ids {
        let handle = writer.store.delete(id).await?;
        writer.written(id, handle)?;
    }
    writer.finish().await
}

async fn conflicts(service: &Service, output: &Output) -> Result<Code, Failed> {
    let store = session::open(service).await?;
    for conflict in store.conflicts().await? {
        let side = |record: &Option<Record>| record.as_ref().map(note::line);
        let line = json!({
            "id": conflict.id,
            "clash": clash(&conflict),
            "base": conflict.base,
            "mine": side(&conflict.local),
            "theirs": side(&conflict.server),
            "since_ms": conflict.since_ms,
        });
        let side = |record: &Option<Record>| {
            let note = record.as_ref().map(|record| Note::of(&record.fields));
            note.map_or("(deleted)".to_owned(), |note| note.headline())
        };
        let words = format!(
            "{}  mine: {}  theirs: {}  ({})",
            conflict.id,
            side(&conflict.local),
            side(&conflict.server),
            clash_words(&conflict),
        );
        output.say(&words, &line)?;
    }
    session::close(&store, None).await;
    Ok(Code::Done)
}

fn clash(conflict: &Conflict) -> Value {
    match &conflict.clash {
        Some(Clash::Fields(fields)) => json!({"kind": "fields", "fields": fields}),
        Some(Clash::DeleteAgainstEdit) => json!({"kind": "delete_against_edit"}),
        Some(Clash::EditAgainstDelete) => json!({"kind": "edit_against_delete"}),
        None => Value::Null,
    }
}

pub(crate) fn clash_words(conflict: &Conflict) -> String {
    match &conflict.clash {
        Some(Clash::Fields(fields)) => format!("both changed {}", fields.join(", ")),
        Some(Clash::DeleteAgainstEdit) => "deleted here, changed there".to_owned(),
        Some(Clash::EditAgainstDelete) => "changed here, deleted there".to_owned(),
        None => "met twice in a short time".to_owned(),
    }
}

async fn resolve(service: &Service, args: cli::Resolve, output: &Output) -> Result<Code, Failed> {
    let given = parts(&args.parts);
    if args.keep.is_none() && given.is_empty() {
        return Err(Failed::usage(
            "how? Give --keep mine, --keep theirs, or the parts that replace both",
        ));
    }
    let mut writer = Writer::open(service, args.wait, output).await?;
    let all = writer.store.conflicts().await?;
    let Some(conflict) = all.into_iter().find(|conflict| conflict.id == args.id) else {
        return Err(Failed::not_found(&args.id, "conflict over"));
    };
    let resolution = match args.keep {
        Some(Side::Mine) => Resolution::KeepLocal,
        Some(Side::Theirs) => Resolution::KeepServer,
        None => {
            let mut fields = note::merged(&conflict);
            fields.extend(given);
            Resolution::Merged(fields)
        }
    };
    let handle = writer.store.resolve(&args.id, resolution).await?;
    writer.written(&args.id, handle)?;
    writer.finish().await
}

async fn parked(service: &Service, output: &Output) -> Result<Code, Failed> {
    let store = session::open(service).await?;
    for parked in store.rejected().await? {
        let reason = reason_words(&parked.reason);
        let line = json!({
            "id": parked.id,
            "wanted": parked.wanted.as_ref().map(note::line),
            "reason": parked.reason,
            "since_ms": parked.since_ms,
        });
        output.say(&format!("{}  {reason}", parked.id), &line)?;
    }
    session::close(&store, None).await;
    Ok(Code::Done)
}

async fn retry(service: &Service, args: cli::One, output: &Output) -> Result<Code, Failed> {
    let mut writer = Writer::open(service, args.wait, output).await?;
    match writer.store.retry(&args.id).await {
        Ok(handle) => writer.written(&args.id, handle)?,
        Err(StoreError::NotFound) => return Err(Failed::not_found(&args.id, "refused write to")),
        Err(error) => return Err(error.into()),
    }
    writer.finish().await
}

async fn discard(service: &Service, args: cli::Id, output: &Output) -> Result<Code, Failed> {
    let store = session::open(service).await?;
    match store.discard(&args.id).await {
        Ok(()) => {}
        Err(StoreError::NotFound) => return Err(Failed::not_found(&args.id, "refused write to")),
        Err(error) => return Err(error.into()),
    }
    let event = json!({"event": "discarded", "id": args.id});
    output.say(&format!("{}  is as the server has it", args.id), &event)?;
    session::close(&store, None).await;
    Ok(Code::Done)
}

async fn sync(service: &Service, args: cli::Sync, output: &Output) -> Result<Code, Failed> {
    let store = session::open(service).await?;
    let client = session::connect(service, &store)?;
    let done = client.sync_once(args.wait).await;
    let (code, status) = match done {
        Ok(report) => (Code::Done, report.status),
        Err(SyncOnceError::Deadline { status } | SyncOnceError::Failed { status }) => {
            (Code::Waiting, *status)
        }
        Err(error) => return Err(Failed::broken(error.to_string())),
    };
    let backlog = store.pending().await?.operations.len();
    let cause = status
        .cause
        .map_or(String::new(), |cause| format!("  {cause}"));
    let words = match code {
        Code::Done => "up to date".to_owned(),
        _ => format!("not up to date{cause}"),
    };
    let words = format!(
        "{words}  waiting {backlog}  conflicts {}  parked {}",
        status.conflicts, status.rejected
    );
    let mut line = serde_json::to_value(&status).unwrap_or_default();
    line["event"] = "status".into();
    line["up_to_date"] = (code == Code::Done).into();
    output.say(&words, &line)?;
    session::close(&store, Some(&client)).await;
    Ok(code)
}

const PAGE: usize = 500;
/// More than a note of the longest kind has in UTF-8.
const LINE_BYTES_MAX: u64 = 1 << 20;
