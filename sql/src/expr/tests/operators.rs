//! Arithmetic, comparison, logic, CASE, LIKE, IN, access, constructors, CAST.

use super::check;

#[test]
fn arithmetic() {
    check(&[
        ("I + 1", "8 | null! | -2"),
        ("I - L", "-33 | null! | 9223372036854775806"),
        ("I * 2.0", "14.0 | null! | -6.0"),
        ("I / 2", "3 | null! | -1"),
        ("I % 2", "1 | null! | -1"),
        ("I / 0", "null! | null! | null!"),
        ("I % 0", "null! | null! | null!"),
        ("D / 0", "Infinity | null! | -Infinity"),
        ("D + I", "9.5 | null! | -3.5"),
        ("2147483647 + I", "-2147483642 | null! | 2147483644"),
        ("L + 1", "41 | null! | -9223372036854775808"),
        ("-I", "-7 | null! | 3"),
        ("-D", "-2.5 | null! | 0.5"),
        ("-N", "-12.345 | null! | 0.500"),
        ("+I", "7 | null | -3"),
        ("N + N", "24.690 | null! | -1.000"),
        ("N - 0.5", "11.845 | null! | -1.000"),
        ("N * N", "152.399025 | null! | 0.250000"),
        ("N + I", "19.345 | null! | -3.500"),
        ("N * D", "30.8625 | null! | 0.25"),
        ("N / 2.0", "6.172500 | null! | -0.250000"),
        ("N / 0.7", "null! | null! | null!"),
        ("N / 0.0", "null!"),
        ("N % 0.1", "0.045 | null! | 0.000"),
        ("1.0 / 4", "0.250000000000"),
        ("S + 'd'", "abcd | null! | d"),
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("S || 'd'", "abcd | d | d"),
        ("NULL || 'd'", "d"),
    ]);
}

#[test]
fn comparisons_know_no_null() {
    check(&[
        ("I = 7", "true | false | false"),
        ("I <> 7", "false | false | true"),
        ("NOT (I = 7)", "false | true | true"),
        ("I < L", "true | false | true"),
        ("I > 1.5", "true | false | false"),
        ("N = 12.345", "true | false | false"),
        ("N = 12.34500", "true | false | false"),
        ("N > I", "true | false | true"),
        ("D >= -0.5", "true | false | true"),
        ("S = 'abc'", "true | false | false"),
        ("S < 'b'", "true | false | true"),
        ("B = true", "true | false | false"),
        ("Y = Y", "true | false | true"),
        ("A = A", "true | false | true"),
        ("M = MAP('y' := 2, 'x' := 1)", "true | false | false"),
        ("M <> M", "false | false | false"),
        ("ST = STRUCT(F := 1, G := 'g')", "true | false | false"),
        ("I IS DISTINCT FROM NULL", "true | false | true"),
        ("I IS NOT DISTINCT FROM 7", "true | false | false"),
        ("SQRT(-1.0) = SQRT(-1.0)", "false"),
        ("SQRT(-1.0) <> SQRT(-1.0)", "false"),
        ("DT = '2021-03-04'", "true | false | false"),
        ("'1970' <= TS", "true | false | true"),
        ("TS > '2021-03-04T16:06+01:00'", "true | false | false"),
        ("TM = '15:06:07.089'", "true | false | false"),
        ("I BETWEEN 0 AND 7", "true | false | false"),
        ("I NOT BETWEEN 0 AND 7", "false | true | true"),
        ("I + 1 = 8", "true | null! | false"),
        ("I IS NULL", "false | true | false"),
        ("I IS NOT NULL", "true | false | true"),
        ("NULL IS NULL", "true"),
        ("I + 1 IS NULL", "false | null! | false"),
    ]);
}

#[test]
fn logic_stops_when_decided() {
    check(&[
        ("B AND I = 7", "true | null! | false"),
        ("B OR true", "true | null! | true"),
        ("true OR B", "true | true | true"),
        ("I IS NOT NULL AND I + 1 > 0", "true | false | false"),
        ("I IS NULL OR I + 1 > 0", "true | true | false"),
        ("I IS NULL AND I + 1 > 0", "false | null! | false"),
        ("NOT B", "false | null! | true"),
        ("CASE WHEN I IS NULL THEN -1 ELSE I + 1 END", "8 | -1 | -2"),
        ("CASE WHEN I > 0 THEN 1 / 0 ELSE 5 END", "null! | 5 | 5"),
        ("CASE WHEN B THEN 'yes' ELSE 'no' END", "yes | null! | no"),
        ("CASE WHEN I > 0 THEN 'p' WHEN I < 0 THEN 'n' END", "p | null | n"),
        ("CASE WHEN false THEN I ELSE L END", "40 | null | 9223372036854775807"),
    ]);
}

#[test]
fn like_and_in() {
    check(&[
        ("S LIKE 'a%'", "true | null! | false"),
        ("S NOT LIKE '_b_'", "false | null! | true"),
        ("S LIKE S", "true | null! | true"),
        ("'5%' LIKE '5!%' ESCAPE '!'", "true"),
        ("I IN (1, 7)", "true | false | false"),
        ("I NOT IN (1, 7)", "false | true | true"),
        ("I IN (NULL, -3, '7')", "true | false | true"),
        ("I IN (7.0, L)", "true | false | false"),
        ("S IN ('x', 'abc')", "true | false | false"),
        ("S IN (1, true, 'abc')", "true | false | false"),
        ("D IN (2.5)", "true | false | false"),
        ("A IN (ARRAY[3, 1, NULL, 2, 1])", "true | false | false"),
        ("I IN (I)", "true | false | true"),
    ]);
}

#[test]
fn nested_values() {
    check(&[
        ("A", "[3, 1, null, 2, 1] | null | []"),
        ("A[1]", "3 | null | null"),
        ("A[-1]", "1 | null | null"),
        ("A[0]", "null"),
        ("A[3]", "null"),
        ("A[99]", "null"),
        ("M['x']", "1 | null | null"),
        ("M['z']", "null | null | -3"),
        ("ST->F", "1 | null | -3"),
        ("ST->G", "g | null | "),
        ("ARRAY[I, 1 / 0, 5]", "[7, null, 5]! | [null, null, 5]! | [-3, null, 5]!"),
        ("ARRAY[I, L]", "[7, 40] | [null, null] | [-3, 9223372036854775807]"),
        ("ARRAY[ARRAY[1], ARRAY[I]][2][1]", "7 | null | -3"),
        ("MAP('a' := I, 'a' := 1)", "{a=1}"),
        ("STRUCT(X := I, Y := STRUCT(Z := S))->Y->Z", "abc | null | "),
        ("ARRAY[STRUCT(P := 1), STRUCT(Q := 2)]", "[Struct{P=1}, Struct{Q=2}]"),
        ("ARRAY[NULL, '2e1', I]", "[null, 20, 7] | [null, 20, null] | [null, 20, -3]"),
    ]);
}

#[test]
fn casts() {
    check(&[
        ("CAST(I AS STRING)", "7 | null | -3"),
        ("CAST(D AS INT)", "2 | null | 0"),
        ("CAST(L AS INT)", "40 | null | -1"),
        ("CAST(D AS STRING)", "2.5 | null | -0.5"),
        ("CAST(D AS DECIMAL(3, 0))", "3 | null | -1"),
        ("CAST(N AS INT)", "12 | null | 0"),
        ("CAST(N AS DOUBLE)", "12.345 | null | -0.5"),
        ("CAST(N AS DECIMAL(3, 2))", "null! | null | -0.50"),
        ("CAST(N AS DECIMAL(4, 2))", "12.35 | null | -0.50"),
        ("CAST(' 7' AS INT)", "null!"),
        ("CAST('-7' AS BIGINT)", "-7"),
        ("CAST('7.5' AS INT)", "null!"),
        ("CAST('1e3' AS DOUBLE)", "1000.0"),
        ("CAST('tRu' AS BOOLEAN)", "true"),
        ("CAST('yes' AS BOOLEAN)", "true"),
        ("CAST('1' AS BOOLEAN)", "false"),
        ("CAST('' AS BOOLEAN)", "false"),
        ("CAST('aGkh' AS BYTES) = Y", "true | false | false"),
        ("CAST(Y AS STRING)", "aGkh | null | "),
        ("CAST(TS AS STRING)", "2021-03-04T15:06:07.089 | null | 1970-01-01T00:00:00.000"),
        ("CAST(TS AS DATE)", "2021-03-04 | null | 1970-01-01"),
        ("CAST(TS AS TIME)", "15:06:07 | null | 00:00"),
        ("CAST(DT AS TIMESTAMP)", "2021-03-04T00:00:00.000 | null | 1969-12-31T00:00:00.000"),
        ("CAST('2021-03' AS DATE)", "2021-03-01"),
        ("CAST('24:00' AS TIME)", "null!"),
        ("CAST(A AS ARRAY<STRING>)", "[3, 1, null, 2, 1] | null | []"),
        ("CAST(ARRAY['1', 'x'] AS ARRAY<INT>)", "null!"),
        ("CAST(M AS MAP<STRING, DOUBLE>)['x']", "1.0 | null | null"),
        ("CAST(ST AS STRUCT<G STRING, H INT>)", "Struct{G=g} | null | Struct{G=}"),
        ("CAST(ST AS STRING)", "Struct{F=1,G=g} | null | Struct{F=-3,G=}"),
        ("CAST(NULL AS INT)", "null"),
        ("CAST(I + 1 AS STRING)", "8 | null! | -2"),
    ]);
}
