/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests with a right checksum and a wrong content: what a hand or a hostile tool could write. */
#include "core/ckpt/manifest.h"

#include "core/base/alloc.h"
#include "core/base/hash.h"
#include "core/base/str.h"

#include <criterion/criterion.h>
#include <string.h>

#define DIGEST "00000000000000000000000000000000000000000000000000000000000000ff"
#define PART "{\"file\":\"part-00000-of-00001.safetensors\",\"bytes\":1000,\"header_sha256\":\"" DIGEST "\"}"
#define PIECE "{\"part\":0,\"offset\":500,\"begin\":0,\"count\":4,\"crc32c\":\"00000001\"}"
#define TENSOR "{\"path\":\"a\",\"role\":1,\"dtype\":\"float32\",\"shape\":[2,2],\"pieces\":[" PIECE "]}"
#define REST ",\"step\":5,\"generation\":1,\"meta\":{},\"parts\":[" PART "],\"tensors\":[" TENSOR "]"
#define GOOD "\"format\":\"lockstep-checkpoint\",\"version\":1,\"features\":[]" REST

static enum ls_status parse(const char *body, struct lsi_manifest *manifest, struct ls_error *err)
{
    char *covered = ls_str_format("%s}", body);
    char *text = ls_str_format("{\"crc32c\":\"%08x\",%s", ls_crc32c(0, covered, strlen(covered)), covered);
    enum ls_status status = lsi_manifest_parse(text, strlen(text), manifest, err);

    ls_free(text);
    ls_free(covered);
    return status;
}

static void expect_error(const char *body, enum ls_status status, const char *part)
{
    struct ls_error err = LS_ERROR_INIT;
    struct lsi_manifest manifest = {0};

    cr_assert_eq(parse(body, &manifest, &err), status, "%s: %s", body, err.message);
    cr_assert(strstr(err.message, part) != NULL, "%s: %s", body, err.message);
}

/* GOOD with its first `from` replaced by `to`. */
static void expect_replaced(const char *from, const char *to, enum ls_status status, const char *part)
{
    const char *at = strstr(GOOD, from);
    char *body;

    cr_assert_not_null(at);
    body = ls_str_format("%.*s%s%s", (int)(at - GOOD), GOOD, to, at + strlen(from));
    expect_error(body, status, part);
    ls_free(body);
}

/* A state without tensors is a state. */
Test(manifest, no_tensors)
{
    static const char body[] = "\"format\":\"lockstep-checkpoint\",\"version\":1,\"features\":[],\"step\":5,"
                               "\"generation\":1,\"meta\":{},\"parts\":[" PART "],\"tensors\":[]";
    struct ls_error err = LS_ERROR_INIT;
    struct lsi_manifest manifest = {0};

    cr_assert_eq(parse(body, &manifest, &err), LS_OK, "%s", err.message);
    cr_assert(manifest.tensor_count == 0 && manifest.piece_count == 0);
    lsi_manifest_deinit(&manifest);
}

/* The text that the other tests change is accepted as it is. */
Test(manifest, good)
{
    struct ls_error err = LS_ERROR_INIT;
    struct lsi_manifest manifest = {0};

    cr_assert_eq(parse(GOOD, &manifest, &err), LS_OK, "%s", err.message);
    cr_assert(manifest.step == 5 && manifest.tensor_count == 1 && manifest.piece_count == 1 &&
              manifest.pieces[0].crc[0] == 1 && manifest.parts[0].sha256[31] == 0xff);
    lsi_manifest_deinit(&manifest);
}

/* No name in a manifest can lead out of its directory. */
Test(manifest, path_traversal)
{
    expect_replaced("part-00000-of-00001.safetensors", "../../etc/passwd", LS_ECORRUPT, "another name");
    expect_replaced("part-00000-of-00001.safetensors", "/etc/passwd", LS_ECORRUPT, "another name");
    expect_replaced("part-00000-of-00001.safetensors", "part-00001-of-00001.safetensors", LS_ECORRUPT, "another name");
}

/* Sizes and counts that cannot be true are refused before memory is taken for them. */
Test(manifest, absurd_numbers)
{
    expect_replaced("[2,2]", "[4611686018427387904,4]", LS_ECORRUPT, "out of range");
    expect_replaced("[2,2]", "[-2,-2]", LS_ECORRUPT, "out of range");
    expect_replaced("[2,2]", "[1,1,1,1,1,2,2]", LS_ECORRUPT, "no shape");
    expect_replaced("[2,2]", "[2,1073741824]", LS_ECORRUPT, "only 4 of its");
    expect_replaced("\"count\":4", "\"count\":5", LS_ECORRUPT, "out of range");
    expect_replaced("\"count\":4", "\"count\":3", LS_ECORRUPT, "only 3 of its 4");
    expect_replaced("\"count\":4", "\"count\":9223372036854775807", LS_ECORRUPT, "out of range");
    expect_replaced("\"begin\":0", "\"begin\":1", LS_ECORRUPT, "out of range");
    expect_replaced("\"part\":0", "\"part\":1", LS_ECORRUPT, "out of range");
    expect_replaced("\"part\":0", "\"part\":-1", LS_ECORRUPT, "out of range");
    expect_replaced("\"offset\":500", "\"offset\":985", LS_ECORRUPT, "outside its part");
    expect_replaced("\"offset\":500", "\"offset\":9223372036854775807", LS_ECORRUPT, "outside its part");
    expect_replaced("\"bytes\":1000", "\"bytes\":-1", LS_ECORRUPT, "no size");
    expect_replaced("\"crc32c\":\"00000001\"", "\"crc32c\":\"0000000100000002\"", LS_ECORRUPT, "checksums");
    expect_replaced("\"crc32c\":\"00000001\"", "\"crc32c\":\"0000000g\"", LS_ECORRUPT, "no number");
    expect_replaced("\"step\":5", "\"step\":9007199254740993", LS_ECORRUPT, "no step");
    expect_replaced("\"step\":5", "\"step\":5.0", LS_ECORRUPT, "no step");
}

/* Missing and foreign fields. */
Test(manifest, fields)
{
    expect_replaced("\"float32\"", "\"complex\"", LS_ECORRUPT, "dtype");
    expect_replaced("\"path\":\"a\"", "\"path\":1", LS_ECORRUPT, "no path");
    expect_replaced("\"meta\":{}", "\"meta\":[]", LS_ECORRUPT, "meta");
    expect_replaced("[" PART "]", "[]", LS_ECORRUPT, "no parts");
    expect_replaced("[" TENSOR "]", "7", LS_ECORRUPT, "no parts or tensors");
    expect_replaced("[" TENSOR "]", "[" TENSOR "," TENSOR "]", LS_ECORRUPT, "a path is there twice");
    expect_replaced("[" PIECE "]", "[" PIECE "," PIECE "]", LS_ECORRUPT, "overlap");
    expect_replaced("lockstep-checkpoint", "tar", LS_ECORRUPT, "not that of a checkpoint");
    expect_error("\"a\":", LS_ECORRUPT, "not valid JSON");
}

/* A newer version or an unknown feature is "unsupported", which no older checkpoint may hide. */
Test(manifest, from_a_newer_version)
{
    expect_replaced("\"version\":1", "\"version\":2", LS_EUNSUPPORTED, "version 2");
    expect_replaced("\"features\":[]", "\"features\":[\"sliced-twice\"]", LS_EUNSUPPORTED, "sliced-twice");
}
