//! Every spelling of a URL that has fooled some webhook sender before.

use super::*;

fn check(text: &str, expected: &str) {
    let got = vet_url(text, &AllowList::default());
    let got = got.map_or_else(UrlRefusal::code, |_| "ok");
    assert_eq!(got, expected, "{text:?}");
}

#[test]
fn public_urls_pass() {
    for text in [
        "https://example.com",
        "https://example.com/",
        "HTTPS://EXAMPLE.COM/Hook?a=b&c=%20#part",
        "http://example.com:8080/hook",
        "https://example.com.:8443/hook",
        "https://hooks.example.co.uk/services/T00/B00/xyz",
        "https://8.8.8.8/hook",
        "https://[2606:4700:4700::1111]/hook",
        "https://xn--bcher-kva.example/",
        "https://bücher.example/weg/ü",
        "https://my_service.example.com/",
        "https://127.0.0.1.nip.io/",
        "https://example.com/%0d%0aevil",
        "https://example.com/a|b?c^d",
    ] {
        check(text, "ok");
    }
}

#[test]
fn loopback_in_every_spelling_is_refused() {
    for host in [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "127.0.0.2",
        "127.0.0.1.",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "0.0.0.0",
        "0",
        "[::]",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::7f00:1]",
        "[::ffff:0:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::1]",
        "[2002:7f00:1::]",
        "[2001:0:4136:e378:8000:63bf:3fff:fdd2]",
        "[::5efe:7f00:1]",
        "①②⑦.⓪.⓪.①",
        "１２７.0.0.1",
        "127。0。0。1",
        "%31%32%37.0.0.1",
    ] {
        check(&format!("http://{host}"), "url_address_not_allowed");
        check(&format!("https://{host}:8443/path?query"), "url_address_not_allowed");
    }
}

#[test]
fn other_addresses_inside_are_refused() {
    for host in [
        "169.254.169.254",
        "169.254.169.254.",
        "2852039166",
        "0xa9fea9fe",
        "0251.0376.0251.0376",
        "[::ffff:a9fe:a9fe]",
        "169。254。169。254",
        "169.254.170.2",
        "168.63.129.16",
        "100.100.100.200",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "198.18.0.1",
        "192.0.0.8",
        "192.88.99.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "[fe80::1]",
        "[fec0::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[ff02::1]",
        "[100::1]",
        "[2001:db8::1]",
        "[3fff::1]",
        "[5f00::1]",
    ] {
        check(&format!("http://{host}/"), "url_address_not_allowed");
    }
}

#[test]
fn local_names_are_refused() {
    for host in [
        "localhost",
        "LOCALHOST.",
        "localhost.localdomain",
        "foo.localhost",
        "metadata.google.internal",
        "metadata.google.internal.",
        "printer.local",
        "db",
        "db.",
        "wpad.lan",
        "1.0.0.127.in-addr.arpa",
        "x.onion",
        "ｌｏｃａｌｈｏｓｔ",
    ] {
        check(&format!("http://{host}/"), "url_host_not_allowed");
    }
}

#[test]
fn credentials_are_refused_wherever_they_hide() {
    for text in [
        "http://user:pass@127.0.0.1",
        "http://example.com@127.0.0.1",
        "http://example.com:80+&@127.0.0.1",
        "https://user@example.com/",
        "https://:pass@example.com/",
    ] {
        check(text, "url_credentials_not_allowed");
    }
    check("http://127.0.0.1#@example.com", "url_address_not_allowed");
    check("http://example.com\\@127.0.0.1", "url_character_not_allowed");
}

#[test]
fn other_schemes_and_shapes_are_refused() {
    for text in [
        "file:///etc/passwd",
        "gopher://example.com",
        "ftp://example.com",
        "data:text/plain,x",
        "javascript:alert(1)",
        "ws://example.com",
        "unix:/run/docker.sock",
        "http+unix://%2frun%2fdocker.sock",
        "http:example.com",
        "http:/example.com",
        "//example.com",
        "example.com",
        "https",
        "",
    ] {
        check(text, "url_scheme_not_allowed");
    }
    for text in [
        "http://",
        "http:///example.com",
        "https://[127.0.0.1]/",
        "https://[::1/",
        "https://[fe80::1%25eth0]/",
        "https://example.com:65536/",
        "https://example..com/",
        "https://.example.com/",
        "https://exa<mple.com/",
        "https://999.999.999.999/",
        "https://1.2.3.4.5/",
    ] {
        check(text, "url_invalid");
    }
}

#[test]
fn ports_of_other_protocols_are_refused() {
    for port in [0, 1, 22, 23, 25, 53, 81, 110, 445, 1023, 2375, 3306, 5432, 6379, 11211, 27017] {
        check(&format!("http://example.com:{port}/"), "url_port_not_allowed");
    }
    for port in [80, 443, 1024, 3000, 8000, 8080, 8443, 8787, 9000, 65535] {
        check(&format!("http://example.com:{port}/"), "ok");
    }
}

#[test]
fn what_a_parser_forgives_is_refused() {
    for text in [
        "https://example.com/\r\nhost: x",
        "https://exam\tple.com/",
        "https://example.com/a b",
        " https://example.com/",
        "https://example.com/\0",
        "https://example.com/\u{a0}",
        "https://example.com\u{2028}/",
    ] {
        check(text, "url_character_not_allowed");
    }
    let prefix = "https://example.com/";
    let longest = format!("{prefix}{}", "a".repeat(limits::URL_BYTES - prefix.len()));
    check(&longest, "ok");
    check(&format!("{longest}a"), "url_too_long");
    check(&"a".repeat(4 * 1024 * 1024), "url_too_long");
}

#[test]
fn what_the_operator_allows_passes() {
    let allow: AllowList = "127.0.0.0/8,10.1.0.0/16".parse().unwrap();
    for (text, expected) in [
        ("http://127.0.0.1:9000/hook", "ok"),
        ("http://2130706433/", "ok"),
        ("http://[::ffff:127.0.0.1]/", "ok"),
        ("http://[::1]:9000/", "ok"),
        ("http://localhost:9000/", "ok"),
        ("http://receiver:9000/", "ok"),
        ("http://10.1.2.3/", "ok"),
        ("http://10.2.2.3/", "url_address_not_allowed"),
        ("http://169.254.169.254/", "url_address_not_allowed"),
        ("http://[::7f00:1]/", "url_address_not_allowed"),
        ("http://user@127.0.0.1/", "url_credentials_not_allowed"),
        ("http://127.0.0.1:5432/", "url_port_not_allowed"),
    ] {
        let got = vet_url(text, &allow).map_or_else(UrlRefusal::code, |_| "ok");
        assert_eq!(got, expected, "{text}");
    }
}
