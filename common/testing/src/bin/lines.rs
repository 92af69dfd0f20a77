//! How many lines of code there are (no blank lines, comments, tests):
//!
//! ```console
//! $ cargo run -p testing --bin lines [FOLDER]
//! ```

use std::path::Path;

fn main() -> std::io::Result<()> {
    let common = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src");
    let folder = std::env::args_os().nth(1).map_or(common, Into::into);
    let mut sum = 0;
    for file in testing::rust_files(&folder) {
        let lines = testing::code_lines(&std::fs::read_to_string(&file)?).len();
        println!("{lines:5}  {}", file.strip_prefix(&folder).unwrap_or(&file).display());
        sum += lines;
    }
    println!("{sum:5}  in all");
    Ok(())
}
