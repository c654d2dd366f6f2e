//! The contract as types: lenient in, strict out.

mod cursor;

pub use cursor::Cursor;
