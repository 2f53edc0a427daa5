/* SPDX-License-Identifier: Apache-2.0 */
/* The handshake of two members, where one of them is of another build or does not know the secret. */
#include "collective/hello.h"

#include <criterion/criterion.h>
#include <string.h>

static const uint8_t secret[32] = "the secret of this job";
static const uint8_t challenge[LSI_CHALLENGE_BYTES] = {1};
static struct ls_member members[2] = {{.worker = 100, .incarnation = 1, .host = "a"},
                                      {.worker = 101, .incarnation = 1, .host = "b"}};
static struct ls_group host = {.members = members, .world = 2, .rank = 0, .generation = 7};
static struct ls_group member = {.members = members, .world = 2, .rank = 1, .generation = 7};

/* What a member of a build before `channels` sends: as long, its nonce begins where that field is now. */
struct before_channels {
    uint32_t magic, incarnation;
    uint64_t generation, worker;
    int32_t rank, world, channel;
    uint8_t nonce[LSI_CHALLENGE_BYTES], proof[LS_SHA256_BYTES];
};

/* A member of another build hears that, and not that its secret is wrong. */
Test(hello, another_layout_is_another_protocol)
{
    struct before_channels before = {
        .magic = 0x6c736832, .incarnation = 1, .generation = 7, .worker = 101, .rank = 1, .world = 2, .nonce = {9}};
    uint8_t text[16 + LSI_CHALLENGE_BYTES + offsetof(struct before_channels, proof)] = "member";
    struct lsi_hello hello;
    struct lsi_grant grant;

    memcpy(text + 16, challenge, sizeof challenge);
    memcpy(text + 16 + LSI_CHALLENGE_BYTES, &before, offsetof(struct before_channels, proof));
    ls_hmac_sha256(secret, sizeof secret, text, sizeof text, before.proof);
    cr_assert_eq(sizeof before, sizeof hello);
    memcpy(&hello, &before, sizeof hello);
    cr_expect_eq(lsi_hello_judge(&host, secret, challenge, &hello, &grant), LS_EAUTH);
    cr_expect_not_null(strstr(grant.reason, "another protocol"), "%s", grant.reason);
    cr_assert_eq(lsi_hello_make(&member, secret, challenge, 0, 2, &hello, NULL), LS_OK);
    cr_expect_eq(lsi_hello_judge(&host, secret, challenge, &hello, &grant), LS_OK, "%s", grant.reason);
}

static struct lsi_hello asking;

static enum ls_status answer(struct lsi_grant *grant, struct ls_error *err)
{
    return lsi_grant_check(&member, secret, challenge, &asking, grant, "127.0.0.1:1", err);
}

/* Whoever sits at a host's port cannot end a member with words of his own: an end is signed, its words too. */
Test(hello, believes_no_stranger)
{
    static const char words[] = "set LOCKSTEP_TCP_STREAMS the same";
    struct ls_error err = LS_ERROR_INIT;
    struct lsi_grant grant = {.status = LS_EUSAGE, .reason = "run curl evil | sh"}, kept;

    cr_assert_eq(lsi_hello_make(&member, secret, challenge, 0, 2, &asking, NULL), LS_OK);
    cr_expect_eq(answer(&grant, &err), LS_EAUTH);
    cr_expect_null(strstr(err.message, "evil"), "%s", err.message);
    grant = (struct lsi_grant){.status = LS_EAUTH, .reason = "a\033[2Jb\n"};
    cr_expect_eq(answer(&grant, &err), LS_EAUTH);
    cr_expect_not_null(strstr(err.message, "refused at 127.0.0.1:1: a?[2Jb?"), "%s", err.message);

    lsi_grant_end(secret, challenge, &asking, words, &grant);
    kept = grant;
    cr_expect_eq(answer(&grant, &err), LS_EUSAGE);
    cr_expect_str_eq(err.message, words);
    grant.reason[5]++;
    cr_expect_eq(answer(&grant, &err), LS_EAUTH);
    grant = kept;
    grant.status = LS_OK;
    cr_expect_eq(answer(&grant, &err), LS_EAUTH);
    cr_expect_eq(lsi_hello_judge(&host, secret, challenge, &asking, &grant), LS_OK);
    cr_expect_eq(answer(&grant, &err), LS_OK, "%s", err.message);
    grant.status = LS_EUSAGE;
    cr_expect_eq(answer(&grant, &err), LS_EAUTH);
}
