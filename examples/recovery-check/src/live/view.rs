//! The picture: the client above, readiness and log beside each other, the edge's counters below. Any
//! size will do; a small one leaves out frames and what is well.

use evenkeel::SyncState;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph, Wrap};

use super::model::{Client, LOOKS_MAX, Live};
use crate::probe::shown;
use crate::report::axis::Axis;
use crate::report::counters::{PROVIDERS, Series, UPSTREAM};
use crate::report::lanes::{Lane, Level};
use crate::report::rates::{Buckets, rate_words};
use crate::report::story::READY;
use crate::report::words::{number, span, time};

pub(crate) fn draw(frame: &mut Frame<'_>, live: &Live, client: &Client, colours: bool) {
    let view = View { live, colours };
    let area = frame.area();
    let foot = Line::from(" q quit").style(Style::new().add_modifier(Modifier::DIM));
    if area.width >= ROOMY.0 && area.height >= ROOMY.1 {
        let [head, place, top, counters, below] = Layout::vertical([
            Constraint::Length(2),
            Constraint::Length(1),
            Constraint::Length(7),
            Constraint::Fill(1),
            Constraint::Length(1),
        ])
        .areas(area);
        let sides = [Constraint::Percentage(45), Constraint::Fill(1)];
        let [ready, log] = Layout::horizontal(sides).areas(top);
        frame.render_widget(view.head(client), head);
        frame.render_widget(view.place(), place);
        let inner = framed(frame, ready, Line::from(" readiness "));
        let rows = live.story.origin.iter().map(|lane| view.lane(lane, 13));
        frame.render_widget(Paragraph::new(rows.collect::<Vec<_>>()), inner);
        let inner = framed(frame, log, Line::from(" log, in UTC "));
        frame.render_widget(view.log(inner.height), inner);
        let mut title = Line::from(" edge counters, ");
        title.extend(view.lane(&live.story.circuit, 8));
        title.push_span(" ");
        let inner = framed(frame, counters, title);
        frame.render_widget(view.counters(inner), inner);
        frame.render_widget(foot, below);
        return;
    }
    let [head, ready, circuit, counters, log, below] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Fill(3),
        Constraint::Fill(2),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(view.head(client), head);
    for lane in live.story.origin.iter().filter(|lane| lane.name == READY) {
        frame.render_widget(view.lane(lane, 8), ready);
    }
    frame.render_widget(view.lane(&live.story.circuit, 8), circuit);
    frame.render_widget(view.counters(counters), counters);
    frame.render_widget(view.log(log.height), log);
    frame.render_widget(foot, below);
}

/// Draws a frame around the area; what is left of it.
fn framed(frame: &mut Frame<'_>, area: Rect, title: Line<'_>) -> Rect {
    let block = Block::bordered().title(title);
    let inner = block.inner(area);
    frame.render_widget(block, area);
    inner
}

struct View<'a> {
    live: &'a Live,
    colours: bool,
}

impl View<'_> {
    fn head(&self, client: &Client) -> Paragraph<'static> {
        let level = match client.state {
            SyncState::Synced => Level::Good,
            SyncState::Syncing => Level::Busy,
            _ => Level::Bad,
        };
        let badge = self.paint(level);
        let badge = badge.add_modifier(Modifier::BOLD | Modifier::REVERSED);
        let mut words = format!(" {}", client.words);
        if let Some(now) = self.live.story.client.now() {
            let lasted = self.live.story.to.saturating_sub(now.from);
            words.push_str(&format!("  for {}", span(lasted)));
        }
        let state = Span::styled(format!(" {} ", client.state), badge);
        Paragraph::new(Line::from(vec![state, Span::raw(words)])).wrap(Wrap { trim: false })
    }

    fn place(&self) -> Line<'static> {
        let about = &self.live.story.about;
        let origin = about.origin.as_deref();
        let origin = origin.map_or(String::new(), |origin| format!(", origin {origin}"));
        let watched = span(self.live.story.to.saturating_sub(self.live.story.from));
        let words = format!(" {}{origin}, watched for {watched}", about.edge);
        Line::from(words).style(Style::new().add_modifier(Modifier::DIM))
    }

    /// A lane's name in so many columns, and how it is now.
    fn lane(&self, lane: &Lane, columns: usize) -> Line<'static> {
        let name = Span::raw(format!("{:<columns$}", lane.name));
        let (level, what) = match lane.now() {
            Some(now) if now.level == Level::Unknown && now.what.is_empty() => {
                (Level::Unknown, "unknown".to_owned())
            }
            Some(now) if now.level == Level::Unknown => {
                (Level::Unknown, format!("unknown: {}", shown(&now.what)))
            }
            Some(now) => (now.level, shown(&now.what)),
            None if self.live.story.samples == 0 => {
                (Level::Unknown, "unknown: not looked at yet".to_owned())
            }
            None => (Level::Unknown, "unknown: not told".to_owned()),
        };
        Line::from(vec![name, Span::styled(what, self.paint(level))])
    }

    fn log(&self, height: u16) -> Paragraph<'static> {
        let log = &self.live.log;
        let first = log.len().saturating_sub(usize::from(height));
        let lines = log.iter().skip(first).map(|entry| {
            let when = Span::raw(format!("{} ", time(entry.at)));
            Line::from(vec![
                when,
                Span::styled(shown(&entry.text), self.paint(entry.level)),
            ])
        });
        Paragraph::new(lines.collect::<Vec<_>>())
    }

    fn counters(&self, area: Rect) -> Paragraph<'static> {
        let (width, height) = (usize::from(area.width), usize::from(area.height));
        let mut lines = Vec::new();
        let mut style = Style::new();
        let seen = self.live.story.counters.seen();
        if let Some(why) = &self.live.unseen {
            let words = format!("unknown: {}", shown(why));
            lines.push(Line::styled(words, self.paint(Level::Unknown)));
            if seen {
                style = style.add_modifier(Modifier::DIM);
                lines.push(Line::styled("as they were last seen:", style));
            }
        }
        let rows = self.live.counters();
        let room = height.saturating_sub(lines.len());
        let fits = match rows.len() > room {
            true => room.saturating_sub(1),
            false => rows.len(),
        };
        for (series, value) in &rows[..fits] {
            lines.push(Line::styled(self.row(series, *value, width), style));
        }
        if fits < rows.len() {
            let more = format!("and {} more", rows.len() - fits);
            lines.push(Line::from(more).style(Style::new().add_modifier(Modifier::DIM)));
        }
        Paragraph::new(lines).wrap(Wrap { trim: false })
    }

    /// Name, value, by how much it rose in this watch, how fast it rises, and a column for each look.
    fn row(&self, series: &Series, value: u64, width: usize) -> String {
        let whose = match series.group {
            UPSTREAM => "upstream ",
            PROVIDERS => "provider ",
            _ => "",
        };
        let name = shown(&format!("{whose}{}", series.name));
        let columns = (width / 2).clamp(8, NAME_COLUMNS_MAX);
        let name: String = name.chars().take(columns).collect();
        let rose = match series.rose {
            0 => String::new(),
            rose => format!("+{}", number(rose)),
        };
        let mut row = format!("{name:<columns$}{:>8}{rose:>8}", number(value));
        let rates = |n| self.rates(series, n);
        if width >= RATE_FROM {
            let rate = rates(1).last().copied().filter(|rate| *rate > 0.0);
            row.push_str(&format!("{:>9}", rate.map_or(String::new(), rate_words)));
        }
        let left = width.saturating_sub(row.chars().count() + 2);
        if left > 0 {
            row.push_str("  ");
            row.extend(spark(&rates(left as u64)));
        }
        row.chars().take(width).collect()
    }

    /// How fast it rose between the last looks, the newest last.
    fn rates(&self, series: &Series, looks: u64) -> Vec<f64> {
        let story = &self.live.story;
        let interval = story.about.interval_ms;
        // At whole intervals, so that what is in a column stays in it.
        let to = story.to.div_ceil(interval).saturating_mul(interval);
        let from = to.saturating_sub(interval.saturating_mul(looks.clamp(1, LOOKS_MAX)));
        let rises = series.rises.iter().filter(|rise| rise.to > from);
        let rises: Vec<_> = rises.copied().collect();
        Buckets::of(Axis::new(from, to), interval, &rises).per_s
    }

    /// A colour, unless the user wants none (see no-color.org); what it says stands there in words too.
    fn paint(&self, level: Level) -> Style {
        let colour = match level {
            Level::Good => Color::Green,
            Level::Busy => Color::Yellow,
            Level::Bad => Color::Red,
            Level::Unknown => Color::Magenta,
        };
        match self.colours {
            true => Style::new().fg(colour),
            false => Style::new(),
        }
    }
}

/// Each value as a bar as high as its part of the highest.
fn spark(values: &[f64]) -> impl Iterator<Item = char> {
    let peak = values.iter().copied().fold(0.0, f64::max);
    values.iter().map(move |value| {
        let eighths = match peak > 0.0 {
            true => (value / peak * 8.0).ceil(),
            false => 0.0,
        };
        BARS[(eighths as usize).min(8)]
    })
}

const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// From this size on there is room for frames.
const ROOMY: (u16, u16) = (60, 18);
const NAME_COLUMNS_MAX: usize = 30;
const RATE_FROM: usize = 66;
