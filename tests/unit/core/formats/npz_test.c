/* SPDX-License-Identifier: Apache-2.0 */
/* .npy and .npz: numpy's files are read, ours come back, and what we cannot read is named. */
#include "core/formats/npz.h"

#include "core/base/alloc.h"
#include "core/base/hash.h"
#include "core/base/str.h"
#include "core/formats/npy.h"
#include "tests/support/scratch.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* a: float32 (3,) 1 2 3, deflated; b: int16 (2, 1) -5 7, stored; by Python's zipfile. */
static const char packed[] =
    "504b03041400000008000000210077a640d14f0000008c00000005000000612e6e70799bec17ea1b10c9c850c650ad9e925a9c5ca46ea5a0"
    "6e9366a2aea3a09e965f54529498179f5f94920a12774bcc294e058a17672416a402f91ac63a9a3a0ab50a14002e0686067b060606072072"
    "0000504b0304140000000000000021005b41f380840000008400000005000000622e6e7079934e554d5059010076007b276465736372273a"
    "20273c6932272c2027666f727472616e5f6f72646572273a2046616c73652c20277368617065273a2028322c2031292c207d202020202020"
    "202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020202020200afbff07"
    "00504b010214031400000008000000210077a640d14f0000008c000000050000000000000000000000800100000000612e6e7079504b0102"
    "1403140000000000000021005b41f3808400000084000000050000000000000000000000800172000000622e6e7079504b05060000000002"
    "00020066000000190100000000";

static uint8_t file[512];

static size_t unpack_file(void)
{
    size_t length = strlen(packed) / 2;

    cr_assert(ls_unhex(packed, file, length));
    return length;
}

/* Stored and deflated members of Python's zipfile are read; int16 is widened to int32. */
Test(npz, reads_what_python_wrote)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_npz *npz;
    const struct ls_view *a, *b;

    cr_assert_eq(ls_npz_parse(file, unpack_file(), "test.npz", &npz, &err), LS_OK, "%s", err.message);
    cr_assert_eq(ls_npz_count(npz), 2);
    cr_assert_str_eq(ls_npz_name(npz, 1), "b");
    a = ls_npz_find(npz, "a");
    b = ls_npz_find(npz, "b");
    cr_assert(a != NULL && a->dtype == LS_F32 && ls_shape_equal(&a->shape, &LS_SHAPE(3)));
    cr_assert(b != NULL && b->dtype == LS_I32 && ls_shape_equal(&b->shape, &LS_SHAPE(2, 1)));
    cr_assert_eq(((const float *)a->data)[2], 3.0f);
    cr_assert_eq(((const int32_t *)b->data)[0], -5);
    cr_assert_null(ls_npz_find(npz, "c"));
    ls_npz_close(npz);
}

/* Keras' weights (numpy.savez, local headers with zip64 fields) are read. */
Test(npz, reads_numpy_savez)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_npz *npz;

    cr_assert_eq(ls_npz_open(LS_SOURCE_DIR "/tests/data/keras/mlp/weights.npz", &npz, &err), LS_OK, "%s", err.message);
    cr_assert_eq(ls_npz_count(npz), 6);
    cr_assert_str_eq(ls_npz_name(npz, 0), "000__dense__kernel");
    cr_assert(ls_shape_equal(&ls_npz_view(npz, 0)->shape, &LS_SHAPE(20, 32)));
    ls_npz_close(npz);
}

/* Any byte changed in a file gives an error or the same arrays, never other numbers. */
Test(npz, damage_is_seen)
{
    size_t length = unpack_file();
    int refused = 0;

    for (size_t at = 0; at < length; at++) {
        struct ls_npz *npz;

        file[at] ^= 1;
        if (ls_npz_parse(file, length, "test.npz", &npz, NULL) != LS_OK)
            refused++;
        else {
            const struct ls_view *a = ls_npz_count(npz) > 0 ? ls_npz_view(npz, 0) : NULL;

            cr_assert(a == NULL || memcmp(a->data, (float[]){1, 2, 3}, 12) == 0, "byte %zu", at);
            ls_npz_close(npz);
        }
        file[at] ^= 1;
    }
    cr_assert_gt(refused, 200);
    for (size_t cut = 0; cut < length; cut++) {
        struct ls_npz *npz;

        cr_assert_neq(ls_npz_parse(file, cut, "test.npz", &npz, NULL), LS_OK, "%zu bytes", cut);
    }
}

/* Arrays of every dtype, scalars and empty ones come back from a written file with the same bytes. */
Test(npz, round_trip)
{
    static const enum ls_dtype dtypes[] = {LS_F32, LS_F64, LS_I32, LS_I64, LS_U8, LS_BOOL};
    static const struct ls_shape shapes[] = {{0, {0}}, {1, {7}}, {2, {3, 5}}, {2, {0, 4}}, {6, {1, 2, 1, 2, 1, 3}}};
    char *directory = lst_scratch_create();
    char *path = lst_scratch_file(directory, "w.npz", NULL, 0);
    struct ls_npz_writer writer = {0};
    struct ls_npz *npz;
    uint8_t bytes[512];
    int at = 0;

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i & 1);
    for (size_t d = 0; d < 6; d++)
        for (size_t s = 0; s < 5; s++) {
            struct ls_view view = {.dtype = dtypes[d], .shape = shapes[s], .data = bytes};
            char name[32];

            (void)snprintf(name, sizeof name, "layer/%zu/%zu", d, s);
            cr_assert_eq(ls_npz_append(&writer, name, &view, NULL), LS_OK);
        }
    cr_assert_eq(ls_npz_save(&writer, path, NULL), LS_OK);
    ls_npz_writer_deinit(&writer);
    cr_assert_eq(ls_npz_open(path, &npz, NULL), LS_OK);
    cr_assert_eq(ls_npz_count(npz), 30);
    for (size_t d = 0; d < 6; d++)
        for (size_t s = 0; s < 5; s++, at++) {
            const struct ls_view *view = ls_npz_view(npz, at);

            cr_assert(view->dtype == dtypes[d] && ls_shape_equal(&view->shape, &shapes[s]));
            cr_assert_eq(memcmp(view->data, bytes, ls_view_bytes(view)), 0);
        }
    ls_npz_close(npz);
    ls_free(path);
    lst_scratch_remove(directory);
}

static void expect_npy(const char *header, size_t element_bytes, enum ls_status status, const char *part)
{
    struct ls_error err = LS_ERROR_INIT;
    struct ls_raw_array raw;
    uint8_t bytes[512] = "\x93NUMPY\x01";
    size_t length = strlen(header);

    bytes[7] = 0;
    bytes[8] = (uint8_t)length;
    bytes[9] = 0;
    memcpy(bytes + 10, header, length);
    cr_assert_eq(ls_npy_parse(bytes, 10 + length + element_bytes, &raw, &err), status, "%s: %s", header, err.message);
    cr_assert(strstr(err.message, part) != NULL, "%s: %s", header, err.message);
}

/* What the header may say, and what is refused with a reason. */
Test(npy, headers)
{
    expect_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n", 24, LS_OK, "");
    expect_npy("{\"shape\":(2,),\"descr\":\"|u1\",\"fortran_order\":False}", 2, LS_OK, "");
    expect_npy("{'descr': '>f8', 'fortran_order': False, 'shape': (), }", 8, LS_OK, "");
    expect_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 23, LS_ECORRUPT, "truncated");
    expect_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", 25, LS_ECORRUPT, "1 bytes behind");
    expect_npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3), }", 24, LS_EUNSUPPORTED, "Fortran");
    expect_npy("{'descr': '<f2', 'fortran_order': False, 'shape': (2,), }", 4, LS_EUNSUPPORTED, "float16");
    expect_npy("{'descr': '<c8', 'fortran_order': False, 'shape': (2,), }", 16, LS_EUNSUPPORTED, "<c8");
    expect_npy("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", 16, LS_EUNSUPPORTED, "|O");
    expect_npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", 8, LS_EUNSUPPORTED, "structured");
    expect_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2), }", 8, LS_ECORRUPT, "shape");
    expect_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", 8, LS_ECORRUPT, "shape");
    expect_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", 8, LS_ECORRUPT, "shape");
    expect_npy("{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", 8, LS_EINVAL, "");
    expect_npy("{'descr': '<f4', 'fortran_order': False, }", 8, LS_ECORRUPT, "header");
    expect_npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}", 4, LS_ECORRUPT, "header");
    expect_npy("", 8, LS_ECORRUPT, "header");
}

/* A claimed directory or member size that the file cannot hold is refused before memory is taken. */
Test(npz, absurd_sizes)
{
    struct ls_error err = LS_ERROR_INIT;
    size_t length = unpack_file();
    struct ls_npz *npz;

    /* Uncompressed size of a.npy in the directory (offset 24 of its entry) becomes 0x7fffffff. */
    memcpy(file + 0x119 + 24, "\xff\xff\xff\x7f", 4);
    cr_assert_eq(ls_npz_parse(file, length, "test.npz", &npz, &err), LS_ECORRUPT);
    cr_assert(strstr(err.message, "cannot be true") != NULL, "%s", err.message);
    length = unpack_file();
    memcpy(file + length - 12, "\xff\xfe", 2);
    cr_assert_eq(ls_npz_parse(file, length, "test.npz", &npz, &err), LS_ECORRUPT);
}
