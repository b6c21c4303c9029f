//! Wrong settings stop the start, with a sentence that names the setting and exit code 2.

use std::fs;

use crate::process;

/// Flags, variables, the content of the file, and a part of what must be said.
type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)], &'a str, &'a str);

#[test]
fn a_wrong_setting_stops_the_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("plimsoll.toml");
    let path = file.to_str().expect("a path in UTF-8");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = taken.local_addr().expect("a bound socket").to_string();
    let no_folder = "/dev/null/data";
    let cases: [Case<'_>; 12] = [
        (&["--listen", "nowhere"], &[], "", "--listen is not an address"),
        (&[], &[("PLIMSOLL_LISTEN", "nowhere")], "", "PLIMSOLL_LISTEN is not an address"),
        (&["--config", path], &[], "listen = 'nowhere'", "`listen` in "),
        (&["--config", path], &[], "lisen = '127.0.0.1:0'", "unknown setting `lisen`"),
        (&["--config", path], &[], "listen = ", "is not TOML"),
        (&["--config", "/dev/null/x"], &[], "", "cannot read the settings file /dev/null/x"),
        (&[], &[("PLIMSOLL_BOOTSTRAP_KEY", "secret")], "", "PLIMSOLL_BOOTSTRAP_KEY begins"),
        (&[], &[("PLIMSOLL_MASTER_KEY", "secret")], "", "PLIMSOLL_MASTER_KEY is not 64"),
        (&["--log-level", "loud"], &[], "", "--log-level is neither a level"),
        (&["--allow-destinations", "home"], &[], "", "--allow-destinations is not a list"),
        (&["--listen", &taken], &[], "", "cannot listen"),
        (&["--data-dir", no_folder], &[], "", no_folder),
    ];
    for (flags, variables, content, part) in cases {
        fs::write(&file, content).expect("a file");
        let mut command = process::plimsoll();
        command.arg("serve").args(flags).current_dir(folder.path());
        if !flags.contains(&"--data-dir") {
            command.arg("--data-dir").arg(folder.path().join("data"));
        }
        let output = process::run(command.envs(variables.iter().copied()));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{flags:?} {variables:?}: {said}");
        assert!(said.contains(part), "{said}");
        assert!(!said.contains("secret"), "a secret in: {said}");
    }
}

#[test]
fn a_database_that_does_not_answer_is_said_without_its_password() {
    let url = "postgres://root:hunter2@127.0.0.1:1/postgres";
    let mut command = process::plimsoll();
    let folder = tempfile::tempdir().expect("a temporary folder");
    command.args(["serve", "--database-url", url, "--data-dir"]).arg(folder.path());
    let output = process::run(&mut command);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("the database cannot be opened"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn flags_beat_variables_which_beat_the_file() {
    let launch = process::Launch::new();
    let file = launch.file("plimsoll.toml");
    fs::write(&file, "log_format = 'json'\nlisten = 'nowhere'").expect("a file");
    // The flag of the launch beats the file's address; the file's format stands.
    let server = launch.start_with(|command| {
        command.arg("--config").arg(&file);
    });
    assert!(server.terminate().success());
    let logged = fs::read_to_string(launch.file("stderr")).expect("a log");
    let first = logged.lines().next().expect("a line");
    serde_json::from_str::<serde_json::Value>(first).expect("a line of JSON");
}
