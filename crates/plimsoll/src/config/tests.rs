//! The layers and the sentences, one table each.

use std::{collections::BTreeMap, path::Path};

use super::{Layer, Name, Origin, file, settle};

fn layer(origin: Origin, values: &[(Name, &str)]) -> Layer {
    let values: BTreeMap<_, _> =
        values.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Layer { origin, values }
}

#[test]
fn flags_beat_the_environment_which_beats_the_file() {
    let file = || layer(Origin::File("a.toml".into()), &[(Name::Listen, "127.0.0.1:1")]);
    let variable = || layer(Origin::Variable, &[(Name::Listen, "127.0.0.1:2")]);
    let flag = || layer(Origin::Flag, &[(Name::Listen, "127.0.0.1:3")]);
    let cases = [
        (vec![], 8787),
        (vec![file()], 1),
        (vec![variable(), file()], 2),
        (vec![flag(), variable(), file()], 3),
    ];
    for (layers, port) in cases {
        assert_eq!(settle(&layers).expect("settings").listen.port(), port, "{layers:?}");
    }
}

#[test]
fn a_wrong_value_is_refused_in_a_sentence_that_names_it() {
    let cases = [
        (Name::DataDir, "", "--data-dir is empty"),
        (Name::Listen, "8787", "--listen is not an address such as"),
        (Name::DatabaseUrl, "mysql://me:hunter2@db", "--database-url does not begin with"),
        (Name::BootstrapKey, "sk_live_hunter2", "--bootstrap-key begins neither with"),
        (Name::BootstrapKey, "plm_live_x", "--bootstrap-key needs at least 16"),
        (Name::BootstrapKey, "plm_live_hunter2 hunter2", "--bootstrap-key needs at least 16"),
        (Name::AllowDestinations, "loopback", "--allow-destinations is not a list of networks"),
        (Name::AllowDestinations, "10.0.0.0/33", "--allow-destinations is not a list"),
        (Name::Partitions, "0", "--partitions is not a number from 1"),
        (Name::RetentionLogDays, "32", "--retention-log-days is neither 0 nor a number from 33"),
        (Name::RetentionLogDays, "-1", "--retention-log-days is neither 0 nor a number from 33"),
        (Name::Partitions, "many", "--partitions is not a number from 1"),
        (Name::LogFormat, "xml", "--log-format is neither `text` nor `json`"),
        (Name::LogLevel, "loud=very", "--log-level is neither a level"),
        (Name::MasterKey, "hunter2", "--master-key is not 64 hexadecimal digits"),
    ];
    for (name, value, start) in cases {
        let sentence = settle(&[layer(Origin::Flag, &[(name, value)])])
            .expect_err("a wrong value")
            .to_string();
        assert!(sentence.starts_with(start), "{sentence}");
        assert!(!sentence.contains("hunter2"), "a secret in: {sentence}");
    }
}

#[test]
fn the_sentence_says_where_the_value_stands() {
    let cases = [
        (Origin::Flag, "--listen is"),
        (Origin::Variable, "PLIMSOLL_LISTEN is"),
        (Origin::File("a.toml".into()), "`listen` in a.toml is"),
    ];
    for (origin, start) in cases {
        let error = settle(&[layer(origin, &[(Name::Listen, "x")])]).expect_err("wrong");
        assert!(error.to_string().starts_with(start), "{error}");
    }
}

#[test]
fn a_file_is_read_or_refused_by_name() {
    let read = |text: &str| {
        file::parse(Path::new("a.toml"), text).and_then(|it| settle(&[it])).map_err(|it| {
            let sentence = it.to_string();
            assert!(sentence.contains("a.toml"), "{sentence}");
            sentence
        })
    };
    let settings = read(
        "listen = '[::1]:0'\npartitions = 4\nallow_destinations = ['127.0.0.0/8', '::1']\n\
         log_format = 'json'",
    )
    .expect("settings");
    assert_eq!(settings.partitions, Some(4));
    assert!(!settings.allow_destinations.is_empty());

    for (text, part) in [
        ("lisen = '127.0.0.1:1'", "unknown setting `lisen`"),
        ("[server]\nlisten = 'x'", "unknown setting `server`"),
        ("partitions = 1.5", "`partitions` in a.toml is neither a text"),
        ("partitions = ", "is not TOML"),
    ] {
        let sentence = read(text).expect_err("a wrong file");
        assert!(sentence.contains(part), "{sentence}");
    }
}

#[test]
fn secrets_do_not_show_in_debug_output() {
    let settings = settle(&[layer(
        Origin::Variable,
        &[
            (Name::BootstrapKey, "plm_live_hunter2hunter2hunter2"),
            (Name::DatabaseUrl, "postgres://me:hunter2@db/x"),
        ],
    )])
    .expect("settings");
    assert!(!format!("{settings:?}").contains("hunter2"));
}
