/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How two members of a group prove the job's secret to each other, whatever carries the bytes: the host (who listens)
 * sends a challenge, the member answers with a signed hello, the host with a signed grant.
 */
#ifndef LOCKSTEP_COLLECTIVE_HELLO_H
#define LOCKSTEP_COLLECTIVE_HELLO_H

#include "collective/group_impl.h"

#include "core/base/hash.h"

#define LSI_CHALLENGE_BYTES 32

struct lsi_hello {
    uint32_t magic;
    uint32_t incarnation;
    uint64_t generation;
    uint64_t worker;
    int32_t rank;
    int32_t world;
    int32_t channel;  /* of several connections of one pair */
    int32_t channels; /* how many the sender has */
    uint8_t nonce[LSI_CHALLENGE_BYTES];
    uint8_t proof[LS_SHA256_BYTES];
};

struct lsi_grant {
    int32_t status;
    uint8_t proof[LS_SHA256_BYTES];
    char reason[220];
};

/* The signed hello of this member, for one of its channels. */
enum ls_status lsi_hello_make(const struct ls_group *group, const uint8_t secret[32],
                              const uint8_t challenge[LSI_CHALLENGE_BYTES], int channel, int channels,
                              struct lsi_hello *hello, struct ls_error *err);
/* The host's answer; grant->status is LS_OK or LS_EAUTH with a reason. hello->rank is valid after LS_OK. */
enum ls_status lsi_hello_judge(const struct ls_group *group, const uint8_t secret[32],
                               const uint8_t challenge[LSI_CHALLENGE_BYTES], const struct lsi_hello *hello,
                               struct lsi_grant *grant);
/* Puts a refusal into a grant, which anybody could have sent. */
enum ls_status lsi_grant_refuse(struct lsi_grant *grant, const char *reason);
/* The refusal of a member that has proved the secret where no group can form: LS_EUSAGE, and the reason, which says
 * all, is signed. */
void lsi_grant_end(const uint8_t secret[32], const uint8_t challenge[LSI_CHALLENGE_BYTES],
                   const struct lsi_hello *hello, const char *reason, struct lsi_grant *grant);
/* The member's check of the answer: LS_EAUTH says who refused whom at `where`, LS_EUSAGE only what the host signed. */
enum ls_status lsi_grant_check(const struct ls_group *group, const uint8_t secret[32],
                               const uint8_t challenge[LSI_CHALLENGE_BYTES], const struct lsi_hello *hello,
                               const struct lsi_grant *grant, const char *where, struct ls_error *err);

#endif
