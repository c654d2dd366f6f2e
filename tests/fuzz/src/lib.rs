//! What must hold for whatever bytes a stranger sends: one plain function for each part that reads
//! them. A function panics where its promise is broken.
//!
//! The same functions are run with a fixed number of cases by `cargo test -p evenkeel-fuzz`, and with
//! a coverage-guided fuzzer by the workspace in `guided/`. See the README.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a panic is a target's verdict"
)]

mod bytes;
mod cookie;
mod decoder;
mod engine;
mod failure;
mod list;
mod merge;
mod retry_after;
pub mod seeds;
mod wire;

pub use cookie::cookie;
pub use decoder::decoder;
pub use engine::engine;
pub use failure::failure;
pub use list::list;
pub use merge::merge;
pub use retry_after::retry_after;
pub use wire::wire;

/// One part that reads what a stranger wrote.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its function's name, and that of its folder of regressions.
    pub name: &'static str,
    /// Tries one case; panics where a promise is broken.
    pub run: fn(&[u8]),
    /// How many cases the test command tries.
    pub cases: u32,
    /// The longest case that is made, in bytes.
    pub bytes_max: usize,
    /// What its input is made of, to be sprinkled over cases.
    pub words: &'static [&'static str],
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// Every target.
pub const TARGETS: [Target; 8] = [
    Target {
        name: "decoder",
        run: decoder,
        cases: 20_000,
        bytes_max: 600,
        words: &[
            "data",
            "data:",
            "data: ",
            "event:",
            "event: sync",
            "id",
            "id: 7",
            "retry:",
            "retry: 1",
            ":",
            "\n",
            "\r",
            "\r\n",
            "\n\n",
            "\r\r",
            "\r\n\r\n",
            "\u{feff}",
            "\0",
            "\u{e9}",
        ],
    },
    Target {
        name: "failure",
        run: failure,
        cases: 20_000,
        bytes_max: 900,
        words: JSON_AND_HEADERS,
    },
    Target {
        name: "retry_after",
        run: retry_after,
        cases: 20_000,
        bytes_max: 200,
        words: JSON_AND_HEADERS,
    },
    Target {
        name: "wire",
        run: wire,
        cases: 20_000,
        bytes_max: 1_200,
        words: JSON_AND_HEADERS,
    },
    Target {
        name: "list",
        run: list,
        cases: 10_000,
        bytes_max: 1_500,
        words: JSON_AND_HEADERS,
    },
    Target {
        name: "cookie",
        run: cookie,
        cases: 20_000,
        bytes_max: 400,
        words: &[
            "pb_stream_ticket=",
            "pb_ai_session=",
            ";",
            "; ",
            "=",
            "Path=",
            "Path=/",
            "Max-Age=",
            "Max-Age=-1",
            "999999999999999999999",
            "HttpOnly",
            "Secure",
            "SameSite=Lax",
            "SameSite=None",
            "\t",
            " ",
            ",",
            "Domain=",
            "Expires=Wed, 21 Oct 2099 07:28:00 GMT",
        ],
    },
    Target {
        name: "merge",
        run: merge,
        cases: 20_000,
        bytes_max: 200,
        words: &[],
    },
    Target {
        name: "engine",
        run: engine,
        cases: 5_000,
        bytes_max: 400,
        words: &[],
    },
];

const JSON_AND_HEADERS: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    "\"",
    ":",
    ",",
    "null",
    "true",
    "false",
    "-1",
    "0",
    "1e3",
    "1e999",
    "0.5",
    "18446744073709551615",
    "18446744073709551616",
    "9007199254740993",
    "\"7\"",
    "\"-7\"",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "{\"error\":",
    "\"code\":",
    "\"cause\":",
    "\"message\":",
    "\"circuit_open\"",
    "\"store_failed\"",
    "\"retryAfterMs\":",
    "\"retryAfterSeconds\":",
    "\"retryable\":",
    "\"statusCode\":429",
    "\"RATE_LIMITED\"",
    "\"STREAM_TICKET_REPLAYED\"",
    "\"changes\":[",
    "\"notes\":[",
    "\"nextCursor\":",
    "\"cursor\":",
    "\"version\":",
    "\"id\":",
    "\"op\":\"upsert\"",
    "\"note\":",
    "\"resetRequired\":",
    "\"deletedAt\":",
    "\"applied\":[",
    "\"conflicts\":[",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "Sunday, 06-Nov-94 08:49:37 GMT",
    "Sun Nov  6 08:49:37 1994",
    "999999999",
    "99999999999999999999999",
    "120, 3",
    "<html>",
    "\n",
    "\0",
];
