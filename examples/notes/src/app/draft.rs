//! A note while it is being written. It belongs to the user: no change from elsewhere touches it.

use ratatui::crossterm::event::{KeyCode, KeyEvent};
use ratatui::style::{Modifier, Style};
use ratatui_textarea::{CursorMove, TextArea, WrapMode};

use crate::note::{Fields, Note};

/// What becomes of a draft that is saved.
#[derive(Clone, Debug)]
pub(crate) enum Purpose {
    /// A new note.
    New,
    /// Changes to this one.
    Edit(String),
    /// The decision of the conflict over this one, on top of these fields.
    Resolve(String, Fields),
}

pub(crate) struct Draft {
    pub(crate) purpose: Purpose,
    pub(crate) before: Note,
    pub(crate) title: TextArea<'static>,
    pub(crate) content: TextArea<'static>,
    pub(crate) on_title: bool,
    /// Leaving was asked for once, with changes that are not saved.
    pub(crate) leaving: bool,
}

impl Draft {
    pub(crate) fn new(purpose: Purpose, before: Note) -> Self {
        let mut title = area(&before.title);
        title.set_placeholder_text("title");
        let mut content = area(&before.content);
        content.set_wrap_mode(WrapMode::WordOrGlyph);
        let mut draft = Self {
            on_title: false,
            purpose,
            before,
            title,
            content,
            leaving: false,
        };
        draft.show_cursor();
        draft
    }

    /// The note as it stands now.
    pub(crate) fn note(&self) -> Note {
        Note {
            title: self.title.lines().join(" "),
            content: self.content.lines().join("\n"),
            pinned: self.before.pinned,
        }
    }

    pub(crate) fn is_changed(&self) -> bool {
        self.note() != self.before
    }

    pub(crate) fn key(&mut self, key: KeyEvent) {
        self.leaving = false;
        match key.code {
            KeyCode::Tab | KeyCode::BackTab => self.on_title = !self.on_title,
            KeyCode::Enter | KeyCode::Down if self.on_title => self.on_title = false,
            _ if self.on_title => drop(self.title.input(key)),
            KeyCode::Up if self.content.cursor().0 == 0 => self.on_title = true,
            _ => drop(self.content.input(key)),
        }
        self.show_cursor();
    }

    pub(crate) fn paste(&mut self, text: &str) {
        self.leaving = false;
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        if self.on_title {
            self.title.insert_str(text.replace('\n', " "));
        } else {
            self.content.insert_str(text);
        }
    }

    fn show_cursor(&mut self) {
        let (here, there) = match self.on_title {
            true => (&mut self.title, &mut self.content),
            false => (&mut self.content, &mut self.title),
        };
        here.set_cursor_style(Style::new().add_modifier(Modifier::REVERSED));
        there.set_cursor_style(Style::new());
    }
}

fn area(text: &str) -> TextArea<'static> {
    // Not `lines()`: a last line that is empty would be lost, and the field count as changed.
    let mut area = TextArea::new(text.split('\n').map(str::to_owned).collect());
    area.set_cursor_line_style(Style::new());
    area.move_cursor(CursorMove::Bottom);
    area.move_cursor(CursorMove::End);
    area
}
