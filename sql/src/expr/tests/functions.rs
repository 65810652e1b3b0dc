//! The function library, family by family.

use super::check;
use crate::expr::functions::{FunctionKind, Functions};

#[test]
fn numbers() {
    check(&[
        ("ABS(I)", "7 | null | 3"),
        ("ABS(N)", "12.345 | null | 0.500"),
        ("CEIL(D)", "3.0 | null | -0.0"),
        ("FLOOR(N)", "12.000 | null | -1.000"),
        ("CEIL(N)", "13.000 | null | 0.000"),
        ("ROUND(D)", "3 | null | 0"),
        ("ROUND(-2.5e0)", "-2"),
        ("ROUND(1.005e0, 2)", "1.01"),
        ("ROUND(1234.5e0, -2)", "1200.0"),
        ("ROUND(N)", "12 | null | 0"),
        ("ROUND(N, 2)", "12.350 | null | -0.500"),
        ("TRUNC(D)", "2 | null | 0"),
        ("TRUNC(N, 1)", "12.300 | null | -0.500"),
        ("SIGN(D)", "1 | null | -1"),
        ("SQRT(4)", "2.0"),
        ("LN(0)", "-Infinity"),
        ("LOG(2, 8)", "3.0"),
        ("LOG(1, 8)", "NaN"),
        ("POWER(2, 10)", "1024.0"),
        ("EXP(0)", "1.0"),
        ("DEGREES(PI())", "180.0"),
        ("COT(1) * TAN(1)", "1.0"),
        ("ATAN2(0, 1)", "0.0"),
        ("CBRT(27)", "3.0"),
        ("GREATEST(I, 0, NULL)", "7 | 0 | 0"),
        ("LEAST(I, 0)", "0 | 0 | -3"),
        ("LEAST(S, 'b')", "abc | b | "),
        ("GREATEST(CAST(NULL AS INT), CAST(NULL AS INT))", "null"),
        ("GREATEST(DT, '1980-01-01')", "2021-03-04 | 1980-01-01 | 1980-01-01"),
        ("RANDOM() < 1.0", "true"),
        ("ROUND(GEO_DISTANCE(0, 0, 0, 180))", "20015"),
        ("ROUND(GEO_DISTANCE(0, 0, 0, 180, 'miles'))", "12438"),
        ("GEO_DISTANCE(91, 0, 0, 0)", "null!"),
        ("GEO_DISTANCE(D, 0, 0, 0) >= 0", "true | false! | true"),
    ]);
}

#[test]
fn texts() {
    check(&[
        ("CHR(97)", "a"),
        ("CHR('\\u0041')", "A"),
        ("CHR('A')", "null"),
        ("CONCAT(S, NULL, '-')", "abc- | - | -"),
        ("CONCAT_WS(',', S, 'x', NULL)", "abc,x | x | ,x"),
        ("CONCAT_WS(S, 'x', 'y')", "xabcy | null | xy"),
        ("ELT(2, 'a', 'b')", "b"),
        ("ELT(3, 'a', 'b')", "null"),
        ("ELT(I, 'a', 'b')", "null | null! | null"),
        ("FIELD(S, 'x', 'abc')", "2 | 0 | 0"),
        ("INITCAP('hello wORLD')", "Hello World"),
        ("UCASE(S)", "ABC | null | "),
        ("LCASE('ÄB')", "äb"),
        ("TRIM('  a b ')", "a b"),
        ("LEN(S)", "3 | null | 0"),
        ("LEN('😀')", "2"),
        ("LEN(Y)", "3 | null | 0"),
        ("REPLACE(S, 'b', 'xx')", "axxc | null | "),
        ("SUBSTRING(S, 2)", "bc | null | "),
        ("SUBSTRING(S, -2, 1)", "b | null | "),
        ("SUBSTRING('abc', 0, 2)", "ab"),
        ("SUBSTRING('abc', 5)", ""),
        ("SUBSTRING('abc', 2, -1)", ""),
        ("CAST(SUBSTRING(Y, 1, 2) AS STRING)", "aGk= | null | "),
        ("INSTR(S, 'c')", "3 | 0 | 0"),
        ("INSTR('abcabc', 'b', 3)", "5"),
        ("INSTR('abcabc', 'b', -1)", "5"),
        ("INSTR('abcabc', 'b', 1, 2)", "5"),
        ("LPAD(S, 5, 'xy')", "xyabc | null | xyxyx"),
        ("RPAD(S, 2, 'x')", "ab | null | xx"),
        ("LPAD(S, 5, '')", "null"),
        ("LPAD(S, -1, 'x')", "null"),
        ("SPLIT('a,b,,', ',')", "[a, b, , ]"),
        ("SPLIT(S, '')", "[a, b, c] | null | []"),
        ("SPLIT_TO_MAP('a:1;b;c:3;a:2', ';', ':')", "{a=2, c=3}"),
        ("SPLIT_TO_MAP('a:1', '', ':')", "null"),
        ("MASK('Ab1 ü')", "Xxn-x"),
        ("MASK('Ab1-', '*', NULL, '#', NULL)", "*b#-"),
        ("MASK_KEEP_LEFT('Abc', 1)", "Axx"),
        ("MASK_RIGHT('Abc', 1)", "Abx"),
        ("MASK_LEFT('Abc', -1)", "null!"),
        ("LEN(UUID())", "36"),
        (
            "UUID(TO_BYTES('00112233445566778899aabbccddeeff', 'hex'))",
            "00112233-4455-6677-8899-aabbccddeeff",
        ),
        ("UUID(Y)", "null"),
    ]);
}

#[test]
fn regexes_and_bytes() {
    check(&[
        ("REGEXP_EXTRACT('(b)(.)', S)", "bc | null | null"),
        ("REGEXP_EXTRACT('(b)(.)', S, 2)", "c | null | null"),
        ("REGEXP_EXTRACT('b', S, 1)", "null"),
        ("REGEXP_EXTRACT_ALL('\\d', 'a1b2')", "[1, 2]"),
        ("REGEXP_REPLACE('a1b22', '(\\d+)', '<$1>')", "a<1>b<22>"),
        ("REGEXP_REPLACE('a', 'a', '\\$1')", "$1"),
        ("REGEXP_SPLIT_TO_ARRAY('a1b22c', '\\d+')", "[a, b, c]"),
        ("REGEXP_SPLIT_TO_ARRAY('abc', '')", "[a, b, c]"),
        ("REGEXP_EXTRACT('(', S)", "null! | null | null!"),
        ("MD5('abc')", "900150983cd24fb0d6963f7d28e17f72"),
        ("ENCODE('abc', 'utf8', 'hex')", "616263"),
        ("ENCODE('0x616263', 'hex', 'utf8')", "abc"),
        ("ENCODE('X''61''', 'hex', 'ascii')", "a"),
        ("ENCODE('abc', 'utf8', 'base64')", "YWJj"),
        ("ENCODE('abc', 'utf8', 'latin9')", "null!"),
        ("FROM_BYTES(Y, 'utf8')", "hi! | null | "),
        ("FROM_BYTES(Y, 'hex')", "686921 | null | "),
        ("FROM_BYTES(TO_BYTES('ff', 'hex'), 'hex')", "FF"),
        ("INT_FROM_BYTES(TO_BYTES('00000102', 'hex'))", "258"),
        ("INT_FROM_BYTES(TO_BYTES('02010000', 'hex'), 'LITTLE_ENDIAN')", "258"),
        ("INT_FROM_BYTES(Y)", "null! | null | null!"),
        ("CAST(CONCAT(Y, Y) AS STRING)", "aGkhaGkh |  | "),
    ]);
}

#[test]
fn nulls() {
    check(&[
        ("COALESCE(I, 0)", "7 | 0 | -3"),
        ("COALESCE(NULL, I, 5)", "7 | 5 | -3"),
        ("COALESCE(I + 1, 0)", "8 | null! | -2"),
        ("IFNULL(S, 'none')", "abc | none | "),
        ("IFNULL(A, ARRAY[9])", "[3, 1, null, 2, 1] | [9] | []"),
        ("NULLIF(I, 7)", "null | null | -3"),
        ("AS_VALUE(S)", "abc | null | "),
    ]);
}

#[test]
fn times() {
    check(&[
        ("FORMAT_DATE(DT, 'dd.MM.yy')", "04.03.21 | null | 31.12.69"),
        ("FORMAT_DATE(DT, 'HH')", "null! | null | null!"),
        ("FORMAT_TIME(TM, 'HH:mm:ss.SSS')", "15:06:07.089 | null | 00:00:00.000"),
        ("FORMAT_TIMESTAMP(TS, 'yyyy-MM-dd HH:mm')", "2021-03-04 15:06 | null | 1970-01-01 00:00"),
        (
            "FORMAT_TIMESTAMP(TS, 'HH:mm XXX', 'Europe/Berlin')",
            "16:06 +01:00 | null | 01:00 +01:00",
        ),
        ("FORMAT_TIMESTAMP(TS, 'z VV X')", "GMT GMT Z | null | GMT GMT Z"),
        ("FORMAT_TIMESTAMP(TS, 'z', 'UTC')", "UTC | null | UTC"),
        ("FORMAT_TIMESTAMP(TS, 'bb')", "null! | null | null!"),
        ("PARSE_DATE('4.3.2021', 'd.M.yyyy') = DT", "true | false | false"),
        ("PARSE_DATE('2021', 'yyyy-MM-dd')", "null!"),
        ("PARSE_TIME('3:06 pm', 'h:mm a')", "15:06"),
        (
            "PARSE_TIMESTAMP('2021-03-04 16', 'yyyy-MM-dd HH', 'Europe/Berlin')",
            "2021-03-04T15:00:00.000",
        ),
        ("PARSE_TIMESTAMP(S, 'yyyy')", "null! | null | null!"),
        ("STRINGTOTIMESTAMP('1970-01-02', 'yyyy-MM-dd')", "86400000"),
        ("STRINGTODATE('1970-01-02', 'yyyy-MM-dd')", "1"),
        ("DATETOSTRING(1, 'yyyy-MM-dd')", "1970-01-02"),
        ("TIMESTAMPTOSTRING(0, 'HH', 'Asia/Tokyo')", "09"),
        ("DATEADD(DAYS, 1, DT)", "2021-03-05 | null | 1970-01-01"),
        ("DATEADD(HOURS, 23, DT)", "2021-03-04 | null | 1970-01-01"),
        ("DATESUB(DAYS, 1, DT)", "2021-03-03 | null | 1969-12-30"),
        ("TIMEADD(HOURS, 10, TM)", "01:06:07 | null | 10:00"),
        ("TIMESUB(MINUTES, 1, TM)", "15:05:07 | null | 23:59"),
        (
            "TIMESTAMPADD(MILLISECONDS, 11, TS)",
            "2021-03-04T15:06:07.100 | null | 1970-01-01T00:00:00.011",
        ),
        (
            "CONVERT_TZ(TS, 'UTC', '+02:00')",
            "2021-03-04T17:06:07.089 | null | 1970-01-01T02:00:00.000",
        ),
        ("FROM_DAYS(1)", "1970-01-02"),
        ("FROM_UNIXTIME(L) = '1970-01-01T00:00:00.040'", "true | false | false"),
        ("UNIX_DATE(DT)", "18690 | null | -1"),
        ("UNIX_DATE()", "18690"),
        ("UNIX_TIMESTAMP()", "1614870367089"),
        ("UNIX_TIMESTAMP(TS)", "1614870367089 | null | 0"),
    ]);
}

#[test]
fn collections() {
    check(&[
        ("ARRAY_CONCAT(A, ARRAY[9])", "[3, 1, null, 2, 1, 9] | [9] | [9]"),
        ("ARRAY_CONTAINS(A, 2)", "true | false | false"),
        ("ARRAY_CONTAINS(A, CAST(NULL AS INT))", "true | false | false"),
        ("ARRAY_DISTINCT(A)", "[3, 1, null, 2] | null | []"),
        ("ARRAY_EXCEPT(A, ARRAY[1, 3])", "[null, 2] | null | []"),
        ("ARRAY_INTERSECT(A, ARRAY[1, 3, 4])", "[3, 1] | null | []"),
        ("ARRAY_UNION(ARRAY[1, 2, 1], ARRAY[2, 3])", "[1, 2, 3]"),
        ("ARRAY_JOIN(A)", "3,1,null,2,1 | null | "),
        ("ARRAY_JOIN(ARRAY['a', 'b'], NULL)", "ab"),
        ("ARRAY_LENGTH(A)", "5 | null | 0"),
        ("ARRAY_MAX(A)", "3 | null | null"),
        ("ARRAY_MIN(A)", "1 | null | null"),
        ("ARRAY_REMOVE(A, 1)", "[3, null, 2] | null | []"),
        ("ARRAY_SORT(A)", "[1, 1, 2, 3, null] | null | []"),
        ("ARRAY_SORT(A, 'desc')", "[3, 2, 1, 1, null] | null | []"),
        ("ARRAY_SORT(A, 'up')", "null"),
        ("SLICE(A, 2, 3)", "[1, null] | null | null"),
        ("SLICE(A, NULL, 1)", "[3] | null | null"),
        ("SLICE(A, 1, 9)", "null"),
        ("GENERATE_SERIES(1, 4)", "[1, 2, 3, 4]"),
        ("GENERATE_SERIES(4, 1)", "[4, 3, 2, 1]"),
        ("GENERATE_SERIES(0, 10, 5)", "[0, 5, 10]"),
        ("GENERATE_SERIES(1, 2, -1)", "null!"),
        ("GENERATE_SERIES(1, 2, 0)", "null!"),
        ("AS_MAP(ARRAY['a', 'b'], ARRAY[1])", "{a=1, b=null}"),
        ("MAP_KEYS(M)", "[x, y] | null | [z]"),
        ("MAP_VALUES(M)", "[1, 2] | null | [-3]"),
        ("MAP_UNION(M, MAP('x' := 9))", "{x=9, y=2} | {x=9} | {z=-3, x=9}"),
        ("ENTRIES(M, true)", "[Struct{K=x,V=1}, Struct{K=y,V=2}] | null | [Struct{K=z,V=-3}]"),
    ]);
}

#[test]
fn lambdas() {
    check(&[
        ("TRANSFORM(ARRAY[1, 2], X => X * 10 + I)", "[17, 27] | null! | [7, 17]"),
        ("TRANSFORM(A, X => COALESCE(X, 0) + 1)", "[4, 2, 1, 3, 2] | null | []"),
        ("TRANSFORM(A, X => X + 1)", "null! | null | []"),
        ("TRANSFORM(M, (K, V) => UCASE(K), (K, V) => V + I)", "{X=8, Y=9} | null | {Z=-6}"),
        ("TRANSFORM(M, (K, V) => 'k', (K, V) => V)", "null! | null | {k=-3}"),
        ("FILTER(A, X => X > 1)", "[3, 2] | null | []"),
        ("FILTER(M, (K, V) => K = 'y')", "{y=2} | null | {}"),
        ("REDUCE(ARRAY[1, 2, 3], 0, (ACC, X) => ACC + X)", "6"),
        ("REDUCE(A, 5, (ACC, X) => ACC + COALESCE(X, 0))", "12 | 5 | 5"),
        ("REDUCE(A, 5, (ACC, X) => ACC + X)", "null! | 5 | 5"),
        ("REDUCE(A, CAST(NULL AS INT), (ACC, X) => X)", "null"),
        ("REDUCE(M, 0, (ACC, K, V) => ACC + V)", "3 | 0 | -3"),
        (
            "TRANSFORM(ARRAY[ARRAY[1, 2], ARRAY[3]], X => TRANSFORM(X, Y => Y + ARRAY_LENGTH(X)))",
            "[[3, 4], [4]]",
        ),
    ]);
}

#[test]
fn json_and_urls() {
    check(&[
        ("EXTRACTJSONFIELD('{\"a\":{\"b\":[1.50,\"x\"]}}', '$.a.b[0]')", "1.50"),
        ("EXTRACTJSONFIELD('{\"a\":{\"b\":[1,\"x\"]}}', '$.a.b[1]')", "x"),
        ("EXTRACTJSONFIELD('{\"a\":{\"b\": [1 ]}}', '$.a')", "{\"b\":[1]}"),
        ("EXTRACTJSONFIELD('{\"a b\":null}', '$[\"a b\"]')", "null"),
        ("EXTRACTJSONFIELD('{}', '$.a')", "null"),
        ("EXTRACTJSONFIELD('{', '$.a')", "null!"),
        ("IS_JSON_STRING(S)", "false"),
        ("JSON_ARRAY_CONTAINS('[1, \"1\", 1.0]', 1)", "true"),
        ("JSON_ARRAY_CONTAINS('[1]', '1')", "false"),
        ("JSON_ARRAY_LENGTH('[1,2]')", "2"),
        ("JSON_ARRAY_LENGTH('{}')", "null"),
        ("JSON_CONCAT('{\"a\":1,\"b\":2}', '{\"a\":3}')", "{\"a\":3,\"b\":2}"),
        ("JSON_CONCAT('[1]', '2')", "[1,2]"),
        ("JSON_CONCAT('[1]', S)", "null! | null | null!"),
        ("JSON_ITEMS('[{\"a\": 1}, 2]')", "[{\"a\":1}, 2]"),
        ("JSON_KEYS('{\"b\":1,\"a\":2}')", "[b, a]"),
        ("JSON_RECORDS('{\"b\":\"x\",\"a\":[1]}')", "{b=x, a=[1]}"),
        ("TO_JSON_STRING(ST)", "{\"F\":1,\"G\":\"g\"} | null | {\"F\":-3,\"G\":\"\"}"),
        ("TO_JSON_STRING(STRUCT(B := 1.50, A := TS))->X", "error: unknown-column"),
        ("TO_JSON_STRING(ARRAY[D])", "[2.5] | [null] | [-0.5]"),
        ("TO_JSON_STRING(TM)", "\"15:06:07.089\" | null | \"00:00\""),
        ("URL_ENCODE_PARAM('a b&ü')", "a+b%26%C3%BC"),
        ("URL_DECODE_PARAM('a+b%26%C3%BC')", "a b&ü"),
        ("URL_EXTRACT_HOST('http://u@h.example:81/p?q=1#f')", "h.example"),
        ("URL_EXTRACT_PORT('http://u@h.example:81/p?q=1#f')", "81"),
        ("URL_EXTRACT_PATH('http://h/p%20q?q=1')", "/p q"),
        ("URL_EXTRACT_QUERY('http://h/p?q=1#f')", "q=1"),
        ("URL_EXTRACT_FRAGMENT('http://h/p?q=1#f')", "f"),
        ("URL_EXTRACT_PROTOCOL('http://h/p')", "http"),
        ("URL_EXTRACT_PARAMETER('http://h/?a=1&b&c=3', 'c')", "3"),
        ("URL_EXTRACT_PARAMETER('http://h/?a=1&b', 'b')", ""),
        ("URL_EXTRACT_PARAMETER('http://h/?a=1', 'z')", "null"),
        ("URL_EXTRACT_HOST('http://a b')", "null!"),
    ]);
}

#[test]
fn the_library_is_whole() {
    let count = |kind| Functions::built_in().all().iter().filter(|f| f.about.kind == kind).count();
    // `reference/ksqldb.md` 2.
    assert_eq!(count(FunctionKind::Scalar), 129);
    assert_eq!(count(FunctionKind::Table), 2);
    assert_eq!(count(FunctionKind::Aggregate), 18);
    for function in Functions::built_in().all() {
        assert!(function.about.summary.ends_with('.'), "{}", function.about.name);
        assert!(!function.variants.is_empty(), "{}", function.about.name);
    }
}
