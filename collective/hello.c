/* SPDX-License-Identifier: Apache-2.0 */
/* See hello.h. Proofs are HMAC-SHA-256 over a word for the direction, the challenge and the hello with its nonce. */
#include "collective/hello.h"

#include "core/base/str.h"

#include <string.h>

#define HELLO_MAGIC UINT32_C(0x6c736833) /* raised whenever a field of a hello or a grant comes, goes or moves */
#define WORD_BYTES 16

_Static_assert(sizeof(struct lsi_hello) == 104 && offsetof(struct lsi_hello, channels) == 36 &&
                   sizeof(struct lsi_grant) == 256,
               "a hello or a grant of another layout has another HELLO_MAGIC");

#define PROVED_BYTES (WORD_BYTES + LSI_CHALLENGE_BYTES + offsetof(struct lsi_hello, proof))

static void prove(const uint8_t secret[32], const char *direction, const uint8_t challenge[LSI_CHALLENGE_BYTES],
                  const struct lsi_hello *hello, uint8_t proof[LS_SHA256_BYTES])
{
    uint8_t text[PROVED_BYTES] = {0};

    memcpy(text, direction, strlen(direction));
    memcpy(text + WORD_BYTES, challenge, LSI_CHALLENGE_BYTES);
    memcpy(text + WORD_BYTES + LSI_CHALLENGE_BYTES, hello, offsetof(struct lsi_hello, proof));
    ls_hmac_sha256(secret, 32, text, sizeof text, proof);
}

/* A refusal that is believed: its words are proved too. */
static void prove_end(const uint8_t secret[32], const uint8_t challenge[LSI_CHALLENGE_BYTES],
                      const struct lsi_hello *hello, const struct lsi_grant *grant, uint8_t proof[LS_SHA256_BYTES])
{
    uint8_t text[LS_SHA256_BYTES + sizeof grant->reason];

    prove(secret, "end", challenge, hello, text);
    memcpy(text + LS_SHA256_BYTES, grant->reason, sizeof grant->reason);
    ls_hmac_sha256(secret, 32, text, sizeof text, proof);
}

enum ls_status lsi_hello_make(const struct ls_group *group, const uint8_t secret[32],
                              const uint8_t challenge[LSI_CHALLENGE_BYTES], int channel, int channels,
                              struct lsi_hello *hello, struct ls_error *err)
{
    memset(hello, 0, sizeof *hello);
    hello->magic = HELLO_MAGIC;
    hello->incarnation = group->members[group->rank].incarnation;
    hello->generation = group->generation;
    hello->worker = group->members[group->rank].worker;
    hello->rank = group->rank;
    hello->world = group->world;
    hello->channel = channel;
    hello->channels = channels;
    if (ls_random_bytes(hello->nonce, sizeof hello->nonce) != LS_OK)
        return ls_error_set(err, LS_EIO, "the system gives no random numbers");
    prove(secret, "member", challenge, hello, hello->proof);
    return LS_OK;
}

enum ls_status lsi_grant_refuse(struct lsi_grant *grant, const char *reason)
{
    memset(grant, 0, sizeof *grant);
    grant->status = LS_EAUTH;
    (void)ls_str_into(grant->reason, sizeof grant->reason, reason);
    return LS_EAUTH;
}

void lsi_grant_end(const uint8_t secret[32], const uint8_t challenge[LSI_CHALLENGE_BYTES],
                   const struct lsi_hello *hello, const char *reason, struct lsi_grant *grant)
{
    (void)lsi_grant_refuse(grant, reason);
    grant->status = LS_EUSAGE;
    prove_end(secret, challenge, hello, grant, grant->proof);
}

enum ls_status lsi_hello_judge(const struct ls_group *group, const uint8_t secret[32],
                               const uint8_t challenge[LSI_CHALLENGE_BYTES], const struct lsi_hello *hello,
                               struct lsi_grant *grant)
{
    uint8_t proof[LS_SHA256_BYTES];

    if (hello->magic != HELLO_MAGIC)
        return lsi_grant_refuse(grant, "it speaks another protocol");
    prove(secret, "member", challenge, hello, proof);
    if (!ls_equal_secret(proof, hello->proof, sizeof proof))
        return lsi_grant_refuse(grant, "it has another job's secret");
    if (hello->generation != group->generation)
        return lsi_grant_refuse(grant, "it belongs to another generation");
    if (hello->world != group->world || hello->rank < 0 || hello->rank >= group->world || hello->rank == group->rank)
        return lsi_grant_refuse(grant, "it has another idea of the group's size");
    if (hello->worker != group->members[hello->rank].worker ||
        hello->incarnation != group->members[hello->rank].incarnation)
        return lsi_grant_refuse(grant, "another worker has its rank");
    memset(grant, 0, sizeof *grant);
    prove(secret, "host", challenge, hello, grant->proof);
    return LS_OK;
}

enum ls_status lsi_grant_check(const struct ls_group *group, const uint8_t secret[32],
                               const uint8_t challenge[LSI_CHALLENGE_BYTES], const struct lsi_hello *hello,
                               const struct lsi_grant *grant, const char *where, struct ls_error *err)
{
    uint8_t proof[LS_SHA256_BYTES];
    char reason[sizeof grant->reason];

    memcpy(reason, grant->reason, sizeof reason);
    reason[sizeof reason - 1] = '\0';
    ls_str_calm(reason);
    if (grant->status == LS_EUSAGE)
        prove_end(secret, challenge, hello, grant, proof);
    else if (grant->status == LS_OK)
        prove(secret, "host", challenge, hello, proof);
    else
        return ls_error_set(err, LS_EAUTH, "rank %d was refused at %s: %s", group->rank, where, reason);
    if (!ls_equal_secret(proof, grant->proof, sizeof proof))
        return ls_error_set(err, LS_EAUTH, "rank %d found nobody who knows the job's secret at %s", group->rank, where);
    return grant->status == LS_OK ? LS_OK : ls_error_set(err, LS_EUSAGE, "%s", reason);
}
