//! Each construct as Go's `text/template` and Helm have it; everything else refused with its place.

use serde_json::{Value, json};

use super::{Fault, Templates};

fn values() -> Value {
    json!({
        "Release": {"Namespace": "netpol-system"},
        "Values": {
            "name": "a", "empty": "", "on": true, "off": false, "zero": 0, "port": 8443, "large": 10_000_000,
            "none": null, "list": ["x", "z"], "nothing": [],
            "map": {"b": {"c": [1, {"e": "f", "d": "yes"}]}, "a": {}},
            "items": [{"key": "k1"}, {"key": "k2"}],
        },
    })
}

fn render(source: &str) -> Result<String, Fault> {
    let mut templates = Templates::default();
    templates.add("t.yaml", source)?;
    templates.render("t.yaml", &values())
}

#[test]
fn constructs_mean_what_helm_makes_of_them() {
    let cases = [
        ("plain", "plain"),
        (
            "{{ .Values.name }}:{{.Values.port}}:{{ .Values.on }}",
            "a:8443:true",
        ),
        ("a  {{- .Values.name -}}  b", "aab"),
        ("a {{ .Values.name }} b", "a a b"),
        ("a\n{{- /* a comment }} */}}\nb", "a\nb"),
        ("{{ .Values.name | quote }}", "\"a\""),
        ("{{ quote .Values.port }}", "\"8443\""),
        ("{{ \"te\\\"xt }}\" }}", "te\"xt }}"),
        ("{{ if .Values.on }}1{{ else }}2{{ end }}", "1"),
        ("{{ if .Values.off }}1{{ else }}2{{ end }}", "2"),
        (
            "{{ if .Values.empty }}1{{ else if .Values.zero }}2{{ else if .Values.list }}3{{ else }}4{{ end }}",
            "3",
        ),
        (
            "{{ if .Values.none }}1{{ end }}{{ if .Values.nothing }}2{{ end }}",
            "",
        ),
        (
            "{{ range .Values.list }}<{{ . }}{{ $.Values.name }}>{{ end }}",
            "<xa><za>",
        ),
        ("{{ range .Values.items }}{{ .key }},{{ end }}", "k1,k2,"),
        (
            "{{ range .Values.nothing }}x{{ else }}none{{ end }}",
            "none",
        ),
        (
            "{{ with .Values.map }}{{ .b.c | toYaml }}{{ end }}",
            "- 1\n- d: \"yes\"\n  e: f",
        ),
        (
            "{{ with .Values.empty }}x{{ else }}{{ .Values.name }}{{ end }}",
            "a",
        ),
        (
            "{{ toYaml .Values.map }}",
            "a: {}\nb:\n  c:\n  - 1\n  - d: \"yes\"\n    e: f",
        ),
        (
            "x:{{ toYaml .Values.list | nindent 2 }}",
            "x:\n  - x\n  - z",
        ),
        (
            "{{ define \"n\" }}<{{ .name }}{{ $.port }}>{{ end }}{{ include \"n\" .Values }}",
            "<a8443>",
        ),
        (
            "{{ define \"n\" }}a\nb{{ end }}{{ include \"n\" . | nindent 1 }}",
            "\n a\n b",
        ),
    ];
    for (source, expected) in cases {
        assert_eq!(render(source).as_deref(), Ok(expected), "{source}");
    }
}

#[test]
fn everything_else_is_refused_with_its_place() {
    let cases = [
        (
            "x\n\n{{ .Values.name | upper }}",
            3,
            "`upper` is not understood",
        ),
        (
            "{{ if eq .Values.name \"a\" }}x{{ end }}",
            1,
            "`eq` is not understood",
        ),
        (
            "{{ if .Values.off }}\n{{ lookup \"v1\" }}{{ end }}",
            2,
            "`lookup` is not understood",
        ),
        ("{{ $x := .Values.name }}", 1, "`$x` is not understood"),
        (
            "{{ range $k, $v := .Values.map }}{{ end }}",
            1,
            "`$k,` is not understood",
        ),
        ("{{ template \"n\" . }}", 1, "`template` is not understood"),
        (
            "{{ (quote .Values.name) }}",
            1,
            "`(quote` is not understood",
        ),
        ("{{ if .Values.on }}", 1, "never closed"),
        ("\n{{ end }}", 2, "nothing is open"),
        (
            "{{ if .Values.on }}{{ else }}{{ else }}{{ end }}",
            1,
            "a second `else`",
        ),
        (
            "{{ with .Values.on }}{{ else if .Values.on }}{{ end }}",
            1,
            "belongs to `if` only",
        ),
        ("{{ .Values.name", 1, "without `}}`"),
        ("{{ \"a }}", 1, "without `}}`"),
        ("{{ }}", 1, "nothing stands"),
        ("{{ .Values.name | .Values.port }}", 1, "a value after `|`"),
        ("{{ .Values.absent }}", 1, "there is no .Values.absent"),
        ("{{ .Values.map }}", 1, "needs toYaml or range"),
        ("{{ .Values.none }}", 1, "is null"),
        ("{{ .Values.large }}", 1, "with an exponent"),
        ("{{ range .Values.name }}{{ end }}", 1, "cannot range over"),
        (
            "{{ include \"absent\" . }}",
            1,
            "not defined in any template",
        ),
        (
            "{{ define \"n\" }}{{ include \"n\" . }}{{ end }}{{ include \"n\" . }}",
            1,
            "includes itself",
        ),
        (
            "{{ define \"n\" }}{{ end }}{{ define \"n\" }}{{ end }}",
            1,
            "defined twice",
        ),
        (
            "{{ nindent .Values.name .Values.name }}",
            1,
            "nindent takes a number",
        ),
        (
            "{{ quote .Values.name .Values.name }}",
            1,
            "quote takes one value",
        ),
    ];
    for (source, line, what) in cases {
        let fault = render(source).expect_err(source);
        assert_eq!(
            (fault.file.as_str(), fault.line),
            ("t.yaml", line),
            "{source}: {fault}"
        );
        assert!(fault.what.contains(what), "{source}: {fault}");
    }
}
