/* SPDX-License-Identifier: Apache-2.0 */
/* What the members of a group tell one another while it forms, and what another's card comes to. */
#ifndef LOCKSTEP_COLLECTIVE_PROVIDER_NCCL_CARD_H
#define LOCKSTEP_COLLECTIVE_PROVIDER_NCCL_CARD_H

#include "collective/group_impl.h"
#include "collective/provider/nccl/api.h"

/* What a member tells all others, twice. */
struct nccl_card {
    int32_t status;
    int32_t version;   /* of NCCL */
    struct nccl_id id; /* rank 0's */
    char reason[320];
};

/* A whole card of a rank, a peer's bytes: its form is made safe. LS_OK: it takes part, with this member's version;
 * LS_EUNSUPPORTED names both versions; otherwise what the card says, or LS_EPEER. */
enum ls_status lsi_nccl_card_judge(const struct ls_group *group, int rank, int32_t own_version, struct nccl_card *card,
                                   struct ls_error *err);

#endif
