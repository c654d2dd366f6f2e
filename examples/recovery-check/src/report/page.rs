//! The page: one file, no scripts, nothing fetched.

use std::fmt::Write as _;
use std::time::Duration;

use super::axis::Axis;
use super::counters::{CIRCUIT, REJECTS};
use super::findings::findings;
use super::lanes::Level;
use super::story::{Episode, Story, episodes};
use super::verdict::Verdict;
use super::words::{count, date_and_time, esc, number, span, time};
use super::{rates, timeline};
use crate::handshake::State;
use crate::triage::{Finding, Severity};
use crate::verify::criteria::Criterion;

pub(crate) fn html(
    story: &Story,
    verdict: Verdict,
    criteria: &[Criterion],
    window: Duration,
) -> String {
    let axis = Axis::new(story.from, story.to);
    let episodes = episodes(story);
    let mut page = String::with_capacity(64 << 10);
    let headline = headline(story, verdict, &episodes);
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{} · {}</title>\n<style>\n{}</style>\n</head>\n<body>\n<main>\n",
        esc(&story.about.edge),
        esc(&headline),
        include_str!("style.css")
    );
    header(&mut page, story, verdict, &headline);
    figures(&mut page, story, &episodes);
    page.push_str("<h2>What happened when</h2>\n<div class=\"card\">");
    page.push_str(&timeline::svg(story, axis));
    page.push_str("</div>\n");
    page.push_str(LEGEND);
    judged(&mut page, criteria, window);
    found(&mut page, &findings(story));
    table_of(&mut page, &episodes);
    counters(&mut page, story, axis);
    unseen(&mut page, story);
    footer(&mut page, story);
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn headline(story: &Story, verdict: Verdict, episodes: &[Episode]) -> String {
    let degraded = story.client.time_at(Level::Bad);
    let trouble = match (degraded, episodes.len()) {
        (0, _) => "with the client never degraded".to_owned(),
        (time, 1) => format!("after {} of trouble", span(time)),
        (time, n) => format!(
            "after {} of trouble, in {} episodes",
            span(time),
            number(n as u64)
        ),
    };
    match verdict {
        Verdict::Healthy => format!("Healthy for {}", span(story.to - story.from)),
        Verdict::Recovered => format!("Recovered, {trouble}"),
        Verdict::NotRecovered => "Not recovered when the recording ended".to_owned(),
        Verdict::Unknown if degraded > 0 => format!("Could not tell whether it is over, {trouble}"),
        Verdict::Unknown => "Could not tell whether all is well".to_owned(),
    }
}

fn header(page: &mut String, story: &Story, verdict: Verdict, headline: &str) {
    let (name, words) = (verdict.as_str(), verdict.as_str().replace('_', " "));
    let origin = story.about.origin.as_deref();
    let origin = origin.map_or(String::new(), |o| format!(", origin {}", esc(o)));
    let same_day = date_and_time(story.from)[..10] == date_and_time(story.to)[..10];
    let until = if same_day {
        time(story.to)
    } else {
        date_and_time(story.to)
    };
    let _ = write!(
        page,
        "<header>\n<span class=\"badge {name}\">{words}</span>\n<h1>{}</h1>\n\
         <p class=\"soft\">{}{origin}<br>{} to {until} UTC, {}</p>\n</header>\n",
        esc(headline),
        esc(&story.about.edge),
        date_and_time(story.from),
        span(story.to - story.from),
    );
}

fn figures(page: &mut String, story: &Story, episodes: &[Episode]) {
    let longest = episodes.iter().max_by_key(|e| e.to.saturating_sub(e.from));
    let rejects = story.counters.get(CIRCUIT, REJECTS).map(|s| s.rose);
    let told = |n: Option<u64>| n.map_or("not seen".to_owned(), number);
    let metrics_seen = rejects.is_some();
    let rows = [
        ("Client degraded", span(story.client.time_at(Level::Bad))),
        (
            "Longest episode",
            longest.map_or("none".to_owned(), Episode::length_words),
        ),
        ("Circuit opened", told(metrics_seen.then(|| story.opened()))),
        ("Requests rejected", told(rejects)),
        (
            "Edge restarts",
            told(metrics_seen.then_some(story.counters.restarts.len() as u64)),
        ),
    ];
    page.push_str("<dl class=\"figures\">\n");
    for (name, value) in rows {
        let _ = writeln!(page, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }
    page.push_str("</dl>\n");
}

fn judged(page: &mut String, criteria: &[Criterion], window: Duration) {
    let window = span(u64::try_from(window.as_millis()).unwrap_or(u64::MAX));
    let _ = write!(
        page,
        "<h2>Is it over?</h2>\n<p class=\"soft\">The exit criteria over the last {window} of the recording.</p>\n<div class=\"card\"><table>\n"
    );
    for Criterion {
        id,
        state,
        evidence,
        ..
    } in criteria
    {
        let (class, word) = match state {
            State::Pass => ("pass", "held"),
            State::Fail => ("fail", "failed"),
            State::Unknown => ("unsure", "unknown"),
        };
        let _ = writeln!(
            page,
            "<tr><td class=\"n\">{id}</td><td class=\"n {class}\">{word}</td><td>{}</td></tr>",
            esc(evidence)
        );
    }
    page.push_str("</table></div>\n");
}

/// Triage's rules over the whole recording: what was wrong, and is perhaps mended by now.
fn found(page: &mut String, findings: &[Finding]) {
    page.push_str("<h2>What was behind it</h2>\n");
    if findings.is_empty() {
        page.push_str("<p>Nothing was found in what could be seen.</p>\n");
        return;
    }
    page.push_str("<p class=\"soft\">Over the whole recording, the most likely root first.</p>\n");
    for finding in findings {
        let class = match finding.severity {
            Severity::Critical => "fail",
            Severity::Warning => "warn",
            Severity::Info => "unsure",
        };
        let list = |items: &[String]| -> String {
            items
                .iter()
                .map(|item| format!("<li>{}</li>", esc(item)))
                .collect()
        };
        let _ = writeln!(
            page,
            "<section class=\"card finding\"><h3 class=\"{class}\">{}</h3><p>{}</p><ul>{}</ul><p class=\"soft\">What to do</p><ol>{}</ol></section>",
            esc(&finding.cause),
            esc(&finding.explanation),
            list(&finding.evidence),
            list(&finding.next_steps)
        );
    }
}

fn table_of(page: &mut String, episodes: &[Episode]) {
    page.push_str("<h2>When the client was degraded</h2>\n");
    if episodes.is_empty() {
        page.push_str("<p>Never.</p>\n");
        return;
    }
    let mut shown: Vec<_> = episodes.iter().collect();
    shown.sort_by_key(|e| u64::MAX - e.to.saturating_sub(e.from));
    shown.truncate(EPISODES_MAX);
    shown.sort_by_key(|e| e.from);
    if shown.len() < episodes.len() {
        let _ = writeln!(
            page,
            "<p class=\"soft\">The longest {EPISODES_MAX} of {}.</p>",
            number(episodes.len() as u64)
        );
    }
    page.push_str("<div class=\"card\"><table>\n<tr><th>From (UTC)</th><th>For</th><th>Why (whose fault)</th></tr>\n");
    for episode in shown {
        let named = episode.causes.iter().take(CAUSES_MAX);
        let causes: Vec<_> = named
            .map(|(what, time)| {
                format!("{} <span class=\"soft\">{}</span>", esc(what), span(*time))
            })
            .collect();
        let _ = writeln!(
            page,
            "<tr><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{}</td></tr>",
            date_and_time(episode.from),
            episode.length_words(),
            causes.join(" · ")
        );
    }
    page.push_str("</table></div>\n");
}

fn counters(page: &mut String, story: &Story, axis: Axis) {
    page.push_str("<h2>The edge's counters</h2>\n");
    match rates::svg(story, axis) {
        Some(svg) => {
            page.push_str("<p class=\"soft\">How fast each rose; each row has a scale of its own. A broken line is a restart of the edge: its counters began at zero again.</p>\n<div class=\"card\">");
            page.push_str(&svg);
            page.push_str("</div>\n");
        }
        None if story.counters.still().is_empty() => {
            page.push_str("<p>Not to be seen in this recording.</p>\n");
        }
        None => page.push_str("<p>None of them rose.</p>\n"),
    }
    let still: Vec<_> = story
        .counters
        .still()
        .iter()
        .map(|name| esc(name))
        .collect();
    if !still.is_empty() {
        let _ = writeln!(
            page,
            "<p class=\"soft\">Stood still: {}.</p>",
            still.join(", ")
        );
    }
}

/// What nobody could see is not fine, it is unknown.
fn unseen(page: &mut String, story: &Story) {
    let mut rows = String::new();
    let mut row = |what: &str, why: &str, how: String| {
        let _ = writeln!(
            rows,
            "<tr><td class=\"n\">{what}</td><td>{}</td><td class=\"n\">{how}</td></tr>",
            esc(why)
        );
    };
    for ((what, why), n) in &story.unseen {
        row(
            what,
            why,
            format!("{} of {} looks", number(*n), number(story.samples)),
        );
    }
    for (from, until) in story.gaps.iter().take(GAPS_MAX) {
        let how = format!("{}, for {}", date_and_time(*from), span(until - from));
        row("the recording", "nothing was recorded", how);
    }
    if story.unread.lines > 0 {
        let how = count(story.unread.lines as usize, "line");
        row("the recording", "lines that cannot be read", how);
    }
    if story.unread.cut_off {
        row("the recording", "its last line is cut off", String::new());
    }
    if !rows.is_empty() {
        let _ = write!(
            page,
            "<h2>What could not be seen</h2>\n<div class=\"card\"><table>\n{rows}</table></div>\n"
        );
    }
}

fn footer(page: &mut String, story: &Story) {
    let tool = if story.about.tool.is_empty() {
        String::new()
    } else {
        format!(", recorded by {}", esc(&story.about.tool))
    };
    let every = match story.about.interval_ms {
        0 => String::new(),
        ms => format!(", one each {}", span(ms)),
    };
    let _ = writeln!(
        page,
        "<footer><p>{}{every}{tool}. All times are UTC.</p></footer>",
        count(story.samples as usize, "look"),
    );
}

const LEGEND: &str = r#"<ul class="legend">
<li><svg viewBox="0 0 28 22" aria-hidden="true"><rect class="good" y="8.5" width="28" height="5"/></svg>well</li>
<li><svg viewBox="0 0 28 22" aria-hidden="true"><rect class="busy" y="5" width="28" height="12"/></svg>syncing, or working in a degraded way</li>
<li><svg viewBox="0 0 28 22" aria-hidden="true"><rect class="bad" width="28" height="22"/></svg>degraded, down, circuit open</li>
<li><svg viewBox="0 0 28 22" aria-hidden="true"><rect class="unknown" width="28" height="22"/></svg>could not be seen</li>
</ul>
"#;
const EPISODES_MAX: usize = 50;
const CAUSES_MAX: usize = 12;
const GAPS_MAX: usize = 20;
