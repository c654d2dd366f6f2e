//! What the keys do.

use evenkeel::store::Resolution;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::draft::{Draft, Purpose};
use super::model::{App, Screen};
use crate::note::Note;

impl App {
    pub(crate) async fn event(&mut self, event: Event) {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.key(key).await,
            Event::Paste(text) => match &mut self.screen {
                Screen::Edit(draft) => draft.paste(&text),
                Screen::Filter => self.set_filter(format!("{}{text}", self.filter)).await,
                _ => {}
            },
            _ => {}
        }
    }

    async fn key(&mut self, key: KeyEvent) {
        self.message = None;
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match &mut self.screen {
            Screen::Edit(draft) => match key.code {
                KeyCode::Char('s') if control => self.save().await,
                KeyCode::Esc => self.leave_draft(),
                _ => draft.key(key),
            },
            _ if control && key.code == KeyCode::Char('c') => self.quit = true,
            Screen::Notes => self.notes_key(key.code).await,
            Screen::Filter => self.filter_key(key.code).await,
            Screen::Delete(id, _) => {
                let id = std::mem::take(id);
                self.screen = Screen::Notes;
                if matches!(key.code, KeyCode::Char('y' | 'Y') | KeyCode::Enter) {
                    self.delete(&id).await;
                }
            }
            Screen::Conflicts => self.conflicts_key(key.code).await,
            Screen::Parked => self.parked_key(key.code).await,
            Screen::Help => self.screen = Screen::Notes,
        }
    }

    async fn notes_key(&mut self, key: KeyCode) {
        match key {
            KeyCode::Char('q') => self.quit = true,
            KeyCode::Esc if !self.filter.is_empty() => self.set_filter(String::new()).await,
            KeyCode::Up | KeyCode::Char('k') => self.select(self.selected.saturating_sub(1)).await,
            KeyCode::Down | KeyCode::Char('j') => self.select(self.selected + 1).await,
            KeyCode::PageUp => self.select(self.selected.saturating_sub(SCREENFUL)).await,
            KeyCode::PageDown => self.select(self.selected + SCREENFUL).await,
            KeyCode::Home | KeyCode::Char('g') => self.select(0).await,
            KeyCode::End | KeyCode::Char('G') => self.select(usize::MAX).await,
            KeyCode::Char('n') => {
                let draft = Draft::new(Purpose::New, Note::default());
                self.screen = Screen::Edit(Box::new(draft));
            }
            KeyCode::Enter | KeyCode::Char('e') => self.open_selected().await,
            KeyCode::Char('d') | KeyCode::Delete => {
                if let Some(row) = self.row() {
                    self.screen = Screen::Delete(row.id.clone(), row.headline.clone());
                }
            }
            KeyCode::Char('*') => self.toggle_pin().await,
            KeyCode::Char('/') => self.screen = Screen::Filter,
            KeyCode::Char('c') => self.look_at(Screen::Conflicts).await,
            KeyCode::Char('p') => self.look_at(Screen::Parked).await,
            KeyCode::Char('r') => self.try_now(),
            KeyCode::Char('o') => self.toggle_offline(),
            KeyCode::Char('?') | KeyCode::F(1) => self.screen = Screen::Help,
            _ => {}
        }
    }

    async fn look_at(&mut self, screen: Screen) {
        self.screen = screen;
        self.at = 0;
        self.reload().await;
    }

    async fn filter_key(&mut self, key: KeyCode) {
        match key {
            KeyCode::Enter => self.screen = Screen::Notes,
            KeyCode::Esc => {
                self.screen = Screen::Notes;
                self.set_filter(String::new()).await;
            }
            KeyCode::Backspace => {
                let mut filter = self.filter.clone();
                filter.pop();
                self.set_filter(filter).await;
            }
            KeyCode::Char(c) => self.set_filter(format!("{}{c}", self.filter)).await,
            _ => {}
        }
    }

    async fn conflicts_key(&mut self, key: KeyCode) {
        match key {
            KeyCode::Up | KeyCode::Char('k') => self.at = self.at.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') if self.at + 1 < self.conflicts.len() => {
                self.at += 1;
            }
            KeyCode::Char('m') => self.resolve(Resolution::KeepLocal).await,
            KeyCode::Char('t') => self.resolve(Resolution::KeepServer).await,
            KeyCode::Char('e') | KeyCode::Enter => self.edit_merged(),
            KeyCode::Esc | KeyCode::Char('q') => self.screen = Screen::Notes,
            _ => {}
        }
    }

    async fn parked_key(&mut self, key: KeyCode) {
        match key {
            KeyCode::Up | KeyCode::Char('k') => self.at = self.at.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') if self.at + 1 < self.parked.len() => self.at += 1,
            KeyCode::Char('r') => self.retry().await,
            KeyCode::Char('x') => self.discard().await,
            KeyCode::Esc | KeyCode::Char('q') => self.screen = Screen::Notes,
            _ => {}
        }
    }

    /// Changes are not lost to one key.
    fn leave_draft(&mut self) {
        let Screen::Edit(draft) = &mut self.screen else {
            return;
        };
        if draft.is_changed() && !draft.leaving {
            draft.leaving = true;
            self.message = Some("not saved: Ctrl+S saves, Esc again throws it away".to_owned());
            return;
        }
        self.screen = match draft.purpose {
            Purpose::Resolve(..) => Screen::Conflicts,
            _ => Screen::Notes,
        };
    }
}

const SCREENFUL: usize = 10;
