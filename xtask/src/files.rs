//! Sizes of source files: one that grows past the bound needs a reason here, or a second file.

use std::fs;
use std::path::{Path, PathBuf};

use crate::run::{Failure, announce, relative, root};

const MAX_LINES: usize = 600;

/// Longer files, each with its reason.
const LONGER: &[(&str, &str)] = &[];

/// Directories that hold no sources of this project, or what is made of them.
const SKIPPED: &[&str] = &["target", "node_modules", "dist", "generated", ".git", ".wrangler"];

/// What the bound is for, by the ends of names.
const SOURCES: &[&str] = &["rs", "ts", "js", "mjs", "css"];

/// Prints the longest files, and fails on those that are too long without a reason.
pub(crate) fn check() -> Result<(), Failure> {
    announce("file sizes");
    let mut files = Vec::new();
    for path in sources(&root(), SOURCES)? {
        let text = read(&path)?;
        files.push((text.lines().count(), relative(&path)));
    }
    files.sort_unstable_by(|a, b| b.cmp(a));
    let total: usize = files.iter().map(|(lines, _)| lines).sum();
    println!("{} files, {total} lines; the longest:", files.len());
    for (lines, name) in files.iter().take(5) {
        println!("{lines:>6}  {name}");
    }
    let too_long = too_long(&files);
    if too_long.is_empty() {
        return Ok(());
    }
    Err(Failure(format!(
        "over {MAX_LINES} lines: {}; split them by concept, or give a reason in xtask/src/files.rs",
        too_long.join(", ")
    )))
}

fn too_long(files: &[(usize, String)]) -> Vec<&str> {
    files
        .iter()
        .filter(|(lines, name)| {
            *lines > MAX_LINES && !LONGER.iter().any(|(longer, _)| longer == name)
        })
        .map(|(_, name)| name.as_str())
        .collect()
}

/// All Rust sources below a directory, in order.
pub(crate) fn rust_files(directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    sources(directory, &["rs"])
}

/// All files below a directory whose names end so, in order.
fn sources(directory: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    let mut directories = vec![directory.to_path_buf()];
    while let Some(directory) = directories.pop() {
        let entries = fs::read_dir(&directory).map_err(|error| unreadable(&directory, &error))?;
        for entry in entries {
            let path = entry.map_err(|error| unreadable(&directory, &error))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if path.is_dir() && !SKIPPED.contains(&&*name) {
                directories.push(path);
            } else if path.extension().is_some_and(|end| extensions.iter().any(|one| end == *one)) {
                files.push(path);
            }
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// The text of a file.
pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure(format!("{} could not be read: {error}", relative(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_over_the_bound_is_named() {
        let files = [(MAX_LINES + 1, "src/a.rs".to_string()), (MAX_LINES, "src/b.rs".to_string())];
        assert_eq!(too_long(&files), ["src/a.rs"]);
    }

    #[test]
    fn sources_are_found_and_the_target_directory_is_not() {
        let files = rust_files(&root()).unwrap();
        let names: Vec<String> = files.iter().map(|path| relative(path)).collect();
        assert!(names.contains(&"src/lib.rs".to_string()));
        assert!(names.contains(&"xtask/src/files.rs".to_string()));
        assert!(!names.iter().any(|name| name.starts_with("target/")));
    }

    #[test]
    fn what_is_made_or_installed_is_no_source() {
        let directory = std::env::temp_dir().join(format!("tollgate-files-{}", std::process::id()));
        let names = ["a.ts", "b.css", "c.txt", "dist/d.js", "generated/e.js", "node_modules/f.js"];
        for name in names {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let found = sources(&directory, SOURCES).unwrap();
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(found, [directory.join("a.ts"), directory.join("b.css")]);
    }
}
