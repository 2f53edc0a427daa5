/* SPDX-License-Identifier: Apache-2.0 */
/* Strings: strict numbers, near names, paths. */
#include "core/base/str.h"

#include "core/base/alloc.h"

#include <criterion/criterion.h>

/* Whole decimal numbers are read, anything else is refused. */
Test(str, numbers)
{
    int64_t integer;
    double real;

    cr_assert(ls_str_to_i64("-9223372036854775808", &integer) && integer == INT64_MIN);
    cr_assert_not(ls_str_to_i64("9223372036854775808", &integer));
    cr_assert_not(ls_str_to_i64("", &integer));
    cr_assert_not(ls_str_to_i64(" 1", &integer));
    cr_assert_not(ls_str_to_i64("1x", &integer));
    cr_assert(ls_str_to_f64("1e-3", &real) && real == 0.001);
    cr_assert(ls_str_to_f64("4.9e-324", &real) && real > 0);
    cr_assert_not(ls_str_to_f64("1e999", &real));
    cr_assert_not(ls_str_to_f64("1,5", &real));
    cr_assert_not(ls_str_to_f64("", &real));
}

/* The distance counts inserts, deletes, replacements and swaps of neighbours. */
Test(str, distance)
{
    cr_assert_eq(ls_str_distance("adam", "adam"), 0);
    cr_assert_eq(ls_str_distance("adma", "adam"), 1);
    cr_assert_eq(ls_str_distance("ada", "adam"), 1);
    cr_assert_eq(ls_str_distance("adamm", "adam"), 1);
    cr_assert_eq(ls_str_distance("adem", "adam"), 1);
    cr_assert_eq(ls_str_distance("", "adam"), 4);
}

/* A near name is suggested, a far one is not. */
Test(str, nearest)
{
    static const char *const names[] = {"epochs", "batch", "optimizer"};

    cr_assert_str_eq(ls_str_nearest("optimiser", names, 3), "optimizer");
    cr_assert_str_eq(ls_str_nearest("epoch", names, 3), "epochs");
    cr_assert_null(ls_str_nearest("zebra", names, 3));
    cr_assert_null(ls_str_nearest("x", names, 0));
}

static void expect_join(const char *directory, const char *path, const char *wanted)
{
    char *joined = ls_path_join(directory, path);

    cr_assert_str_eq(joined, wanted);
    ls_free(joined);
}

/* Absolute paths stay; relative ones are put behind the directory. */
Test(str, paths)
{
    char *directory = ls_path_directory("a/b/c.yaml"), *none = ls_path_directory("c.yaml");
    char *root = ls_path_directory("/c.yaml");

    cr_assert_str_eq(directory, "a/b");
    cr_assert_str_eq(none, ".");
    cr_assert_str_eq(root, "/");
    expect_join("a/b", "/abs", "/abs");
    expect_join("a/b", "c", "a/b/c");
    ls_free(directory);
    ls_free(none);
    ls_free(root);
}

/* A copy into a fixed array is always terminated and says when it was cut. */
Test(str, into)
{
    char array[4];

    cr_assert(ls_str_into(array, sizeof array, "abc"));
    cr_assert_not(ls_str_into(array, sizeof array, "abcd"));
    cr_assert_str_eq(array, "abc");
}
