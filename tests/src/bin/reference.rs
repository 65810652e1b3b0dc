//! `reference [--write]`: says which generated pages under `docs/` are stale, or writes them.

use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use millstream_tests::reference::pages;

/// Checks the generated reference under docs/.
#[derive(Parser)]
struct Args {
    /// Write the pages instead of comparing them.
    #[arg(long)]
    write: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut code = ExitCode::SUCCESS;
    let pages = match pages() {
        Ok(pages) => pages,
        Err(e) => {
            eprintln!("reference: {e}");
            return ExitCode::FAILURE;
        }
    };
    for page in pages {
        let path = root.join(page.path);
        if std::fs::read_to_string(&path).is_ok_and(|text| text == page.text) {
            continue;
        }
        if !args.write {
            eprintln!("reference: {} is stale; run it with --write", page.path);
            code = ExitCode::FAILURE;
        } else if let Err(e) = std::fs::write(&path, &page.text) {
            eprintln!("reference: {}: {e}", path.display());
            code = ExitCode::FAILURE;
        } else {
            println!("{}", page.path);
        }
    }
    code
}
