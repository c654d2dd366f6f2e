//! The picture: a badge above, the keys below, a screen between. Any size will do.

use evenkeel::store::Conflict;
use evenkeel::{Record, SyncState};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Block, Paragraph, Wrap};

use super::badge::Badge;
use super::draft::{Draft, Purpose};
use super::model::{App, Row, Screen};
use crate::commands::clash_words;
use crate::note::{CONTENT, Fields, Note, PINNED, TITLE};
use crate::write::reason_words;

pub(crate) fn draw(frame: &mut Frame<'_>, app: &App, badge: &Badge) {
    let [above, middle, below] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(badge_line(badge), above);
    match &app.screen {
        Screen::Notes | Screen::Filter | Screen::Delete(..) => notes(frame, middle, app),
        Screen::Edit(draft) => editor(frame, middle, draft),
        Screen::Conflicts => conflicts(frame, middle, app),
        Screen::Parked => parked(frame, middle, app),
        Screen::Help => frame.render_widget(Paragraph::new(HELP), middle),
    }
    frame.render_widget(footer(app), below);
}

fn badge_line(badge: &Badge) -> Line<'static> {
    let colour = match badge.state {
        SyncState::Synced => Color::Green,
        SyncState::Syncing => Color::Yellow,
        _ => Color::Red,
    };
    let state = format!(" {} ", badge.state);
    let mut line = Line::from(Span::styled(
        state,
        paint(colour).add_modifier(Modifier::BOLD | Modifier::REVERSED),
    ));
    line.push_span(Span::raw(" "));
    line.push_span(Span::raw(badge.words().join(" · ")));
    line
}

fn footer(app: &App) -> Line<'static> {
    if let Some(message) = &app.message {
        return Line::styled(message.clone(), Style::new().add_modifier(Modifier::BOLD));
    }
    let plug = if app.offline { "o online" } else { "o offline" };
    Line::from(match &app.screen {
        Screen::Filter => format!("/{}_  Enter: keep, Esc: all notes", app.filter),
        Screen::Delete(_, headline) => format!("delete {headline:?}? y/n"),
        Screen::Edit(_) => "Ctrl+S save  Esc leave  Tab title/text".to_owned(),
        Screen::Conflicts => "m keep mine  t keep theirs  e edit merged  Esc back".to_owned(),
        Screen::Parked => "r send again  x throw away  Esc back".to_owned(),
        Screen::Help => "any key: back".to_owned(),
        Screen::Notes if !app.filter.is_empty() => {
            format!("only {:?}: Esc shows all  / other filter", app.filter)
        }
        Screen::Notes => {
            format!("n new  Enter edit  d delete  * pin  / find  {plug}  r retry  ? help  q quit")
        }
    })
}

fn notes(frame: &mut Frame<'_>, area: Rect, app: &App) {
    if app.rows.is_empty() {
        let words = match app.filter.is_empty() {
            true => "No notes yet: press n.",
            false => "No note has that in it.",
        };
        return frame.render_widget(Paragraph::new(words), area);
    }
    let rows = app.rows.iter().enumerate();
    let rows = rows
        .skip(first(app.selected, app.rows.len(), area))
        .take(usize::from(area.height))
        .map(|(n, row)| note_line(row, n == app.selected));
    frame.render_widget(Text::from_iter(rows), area);
}

fn note_line(row: &Row, selected: bool) -> Line<'static> {
    let pin = if row.pinned { "* " } else { "  " };
    let mut line = Line::from(vec![Span::raw(pin)]);
    if !row.state.is_empty() {
        line.push_span(Span::styled(
            format!("[{}] ", row.state),
            paint(Color::Yellow),
        ));
    }
    line.push_span(Span::raw(row.headline.clone()));
    selected_style(line, selected)
}

fn editor(frame: &mut Frame<'_>, area: Rect, draft: &Draft) {
    let what = match draft.purpose {
        Purpose::New => "New note",
        Purpose::Edit(_) => "Edit",
        Purpose::Resolve(..) => "Merged: mine where both changed the same",
    };
    let block = Block::bordered().title(what);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let [title, line, content] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Fill(1),
    ])
    .areas(inner);
    frame.render_widget(&draft.title, title);
    frame.render_widget(Line::from("─".repeat(usize::from(line.width))), line);
    frame.render_widget(&draft.content, content);
}

fn conflicts(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let Some(conflict) = app.conflicts.get(app.at) else {
        return frame.render_widget(Paragraph::new("Nothing is in conflict."), area);
    };
    let [above, sides] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let place = format!("{} of {}", app.at + 1, app.conflicts.len());
    let words = format!("Conflict {place}: {}", clash_words(conflict));
    frame.render_widget(Line::from(words), above);
    let [base, mine, theirs] = Layout::horizontal([
        Constraint::Fill(1),
        Constraint::Fill(1),
        Constraint::Fill(1),
    ])
    .areas(sides);
    let fields = |record: &Option<Record>| record.as_ref().map(|r| r.fields.clone());
    side(
        frame,
        base,
        "before",
        conflict.base.clone(),
        conflict,
        false,
    );
    side(frame, mine, "mine", fields(&conflict.local), conflict, true);
    side(
        frame,
        theirs,
        "theirs",
        fields(&conflict.server),
        conflict,
        true,
    );
}

fn side(
    frame: &mut Frame<'_>,
    area: Rect,
    name: &'static str,
    fields: Option<Fields>,
    conflict: &Conflict,
    mark: bool,
) {
    let block = Block::bordered().title(name);
    let Some(fields) = fields else {
        let words = if mark { "(deleted)" } else { "(not there)" };
        return frame.render_widget(Paragraph::new(words).block(block), area);
    };
    let changed = |field: &str| {
        let before = conflict.base.as_ref().and_then(|base| base.get(field));
        mark && before != fields.get(field)
    };
    let note = Note::of(&fields);
    let mut text = Text::default();
    let mut add = |field: &str, value: &str| {
        let (sign, style) = match changed(field) {
            true => ("> ", paint(Color::Yellow).add_modifier(Modifier::BOLD)),
            false => ("  ", Style::new()),
        };
        for line in value.split('\n') {
            text.push_line(Line::styled(format!("{sign}{line}"), style));
        }
    };
    add(TITLE, &note.title);
    add(PINNED, if note.pinned { "pinned" } else { "not pinned" });
    add(CONTENT, &note.content);
    let shown = Paragraph::new(text).wrap(Wrap { trim: false }).block(block);
    frame.render_widget(shown, area);
}

fn parked(frame: &mut Frame<'_>, area: Rect, app: &App) {
    if app.parked.is_empty() {
        return frame.render_widget(Paragraph::new("The server refused nothing."), area);
    }
    let height = (area.height / 2).max(1);
    let room = Rect { height, ..area };
    let mut text = Text::default();
    let all = app.parked.iter().enumerate();
    let shown = all
        .skip(first(app.at, app.parked.len(), room))
        .take(usize::from(height));
    for (n, parked) in shown {
        let wanted = parked
            .wanted
            .as_ref()
            .map(|record| Note::of(&record.fields));
        let headline = wanted.map_or("a deletion".to_owned(), |note| note.headline());
        text.push_line(selected_style(Line::from(headline), n == app.at));
        text.push_line(Line::styled(
            format!("    {}", reason_words(&parked.reason)),
            paint(Color::Red),
        ));
    }
    frame.render_widget(text, area);
}

/// The first row to show, so that the selected one is in the middle where possible.
fn first(selected: usize, rows: usize, area: Rect) -> usize {
    let height = usize::from(area.height);
    let most = rows.saturating_sub(height);
    selected.saturating_sub(height / 2).min(most)
}

fn selected_style(line: Line<'static>, selected: bool) -> Line<'static> {
    match selected {
        true => line.style(Style::new().add_modifier(Modifier::REVERSED)),
        false => line,
    }
}

/// A colour, unless the user wants none (see no-color.org); what it says stands there in words too.
fn paint(colour: Color) -> Style {
    match std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) {
        true => Style::new().fg(colour),
        false => Style::new(),
    }
}

const HELP: &str = "\
Notes are safe on this device as soon as they are written, and on the server
as soon as it can be reached. The badge above says where they stand.

  n  new note                  c  notes in conflict
  Enter  edit                  p  writes that the server refused
  d  delete                    r  try again now
  *  pin, unpin                o  pull the plug, put it back
  /  find                      q  quit
  g G  first, last note        Ctrl+S  save, Esc  leave (when editing)

[waiting] not on the server yet    [conflict] changed here and there
[parked] refused by the server";
