/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes over tcp before any value is believed. First byte: which of a member's hello and a host's grant as they
 * come; the same with a proof by somebody who knows the secret; and the frame that begins an operation, against one of
 * a few.
 */
#include "collective/algo/message.h"
#include "collective/hello.h"
#include "tests/fuzz/fuzz.h"

#include <string.h>

#define WORLD 3
#define WORD_BYTES 16

static const uint8_t secret[32] = "lockstep fuzz secret";
static const uint8_t challenge[LSI_CHALLENGE_BYTES] = {1};
static struct ls_member members[WORLD] = {{.worker = 100, .incarnation = 1, .host = "a"},
                                          {.worker = 101, .incarnation = 1, .host = "b"},
                                          {.worker = 102, .incarnation = 1, .host = "b"}};
static struct ls_group group = {.members = members, .world = WORLD, .rank = 0, .generation = 7};

/* As in hello.c: the fuzzer does not guess an HMAC. */
static void prove(const char *direction, const struct lsi_hello *hello, uint8_t proof[LS_SHA256_BYTES])
{
    uint8_t text[WORD_BYTES + LSI_CHALLENGE_BYTES + offsetof(struct lsi_hello, proof)] = {0};

    memcpy(text, direction, strlen(direction));
    memcpy(text + WORD_BYTES, challenge, LSI_CHALLENGE_BYTES);
    memcpy(text + WORD_BYTES + LSI_CHALLENGE_BYTES, hello, offsetof(struct lsi_hello, proof));
    ls_hmac_sha256(secret, 32, text, sizeof text, proof);
}

static void judge_hello(const uint8_t *data, size_t size, bool proved)
{
    struct lsi_hello hello = {.magic = 0};
    struct lsi_grant grant;
    enum ls_status status;

    memcpy(&hello, data, size < sizeof hello ? size : sizeof hello);
    if (proved)
        prove("member", &hello, hello.proof);
    memset(&grant, 0xff, sizeof grant);
    status = lsi_hello_judge(&group, secret, challenge, &hello, &grant);
    LST_FUZZ_CHECK(status == LS_OK || status == LS_EAUTH);
    LST_FUZZ_CHECK(grant.status == status && memchr(grant.reason, 0, sizeof grant.reason) != NULL);
    if (status == LS_OK)
        LST_FUZZ_CHECK(hello.rank > 0 && hello.rank < WORLD && hello.world == WORLD);
}

static void judge_grant(const uint8_t *data, size_t size, bool proved)
{
    struct lsi_hello hello = {.magic = 0};
    struct lsi_grant grant = {.status = LS_OK};
    struct ls_error err = LS_ERROR_INIT;
    enum ls_status status;

    memcpy(&grant, data, size < sizeof grant ? size : sizeof grant);
    if (proved)
        prove("host", &hello, grant.proof);
    status = lsi_grant_check(&group, secret, challenge, &hello, &grant, "127.0.0.1:1", &err);
    LST_FUZZ_CHECK(status == LS_OK || status == LS_EAUTH); /* no end is believed that nobody has signed */
    LST_FUZZ_CHECK(status == LS_OK || err.message[0] != '\0');
    LST_FUZZ_CHECK(status != LS_OK || grant.status == LS_OK);
}

static void judge_frame(const uint8_t *data, size_t size, int which)
{
    static const int64_t counts[WORLD] = {1, 2, 3};
    static const struct ls_collective ops[] = {
        {.kind = LS_BARRIER},
        {.kind = LS_ALL_GATHER, .dtype = LS_F32, .counts = counts},
        {.kind = LS_BROADCAST, .dtype = LS_I64, .count = 5, .root = 1},
        {.kind = LS_BROADCAST, .dtype = LS_F64, .count = 3, .root = 0},
    };
    struct ls_request request = {
        .group = &group, .op = ops[which % 4], .sequence = 9, .element_bytes = 4, .way = LSI_ONE_SHOT};
    struct ls_error err = LS_ERROR_INIT;
    struct lsi_frame frame = {.magic = 0};
    enum ls_status status;

    request.signature.kind = (uint8_t)request.op.kind;
    memcpy(&frame, data, size < sizeof frame ? size : sizeof frame);
    if (which & 4)
        frame.signature = request.signature;
    status = lsi_frame_judge(&request, 1, &frame, &err);
    LST_FUZZ_CHECK(status == LS_OK || status == LS_EPEER || status == LS_EDIVERGED);
    LST_FUZZ_CHECK(status == LS_OK ? frame.payload_bytes <= LSI_SMALL_BYTES : err.message[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    switch (data[0] % 8) {
    case 0:
    case 1:
        judge_hello(data + 1, size - 1, data[0] % 2 == 1);
        return 0;
    case 2:
    case 3:
        judge_grant(data + 1, size - 1, data[0] % 2 == 1);
        return 0;
    default:
        judge_frame(data + 1, size - 1, data[0] / 8);
        return 0;
    }
}
