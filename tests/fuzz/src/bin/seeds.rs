//! Writes the seeds and regressions of every target into folders of their own, for a guided fuzzer:
//! `seeds DIR`.

use std::path::PathBuf;

use evenkeel_fuzz::{TARGETS, seeds};

fn main() -> std::io::Result<()> {
    let root = PathBuf::from(
        std::env::args_os()
            .nth(1)
            .unwrap_or_else(|| "corpus".into()),
    );
    for target in TARGETS {
        let folder = root.join(target.name);
        std::fs::create_dir_all(&folder)?;
        let known = seeds::regressions(target.name)
            .into_iter()
            .map(|(_, case)| case);
        for (n, case) in seeds::seeds(target.name)
            .into_iter()
            .chain(known)
            .enumerate()
        {
            std::fs::write(folder.join(format!("seed-{n}")), case)?;
        }
    }
    Ok(())
}
