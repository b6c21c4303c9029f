//! The words of the command line, held by a snapshot: a change of them is a change of the product.

use clap::{CommandFactory, Parser};

use super::Cli;

#[test]
fn the_words_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn help_is_as_written_down() {
    let mut command = Cli::command().term_width(100);
    let mut text = format!("$ plimsoll --help\n{}", command.render_help());
    for name in ["serve", "backup", "restore", "environment", "verify", "rules", "openapi"] {
        let command = command.find_subcommand_mut(name).expect("a subcommand");
        text += &format!("\n$ plimsoll {name} --help\n{}", command.render_help());
    }
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    let text = lines.join("\n") + "\n";
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cli/help.txt");
    let written = std::fs::read_to_string(file).unwrap_or_default();
    if text != written {
        let actual = std::env::temp_dir().join("plimsoll-help.txt");
        std::fs::write(&actual, &text).expect("a temporary file");
        panic!("--help has changed: compare {} with {file}, and copy it", actual.display());
    }
}

#[test]
fn secrets_have_no_flag() {
    for flag in ["--bootstrap-key", "--master-key"] {
        assert!(Cli::try_parse_from(["plimsoll", "serve", flag, "x"]).is_err(), "{flag}");
    }
}
