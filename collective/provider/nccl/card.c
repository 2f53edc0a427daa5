/* SPDX-License-Identifier: Apache-2.0 */
/* Judging another's card, see card.h. */
#include "collective/provider/nccl/card.h"

enum ls_status lsi_nccl_card_judge(const struct ls_group *group, int rank, int32_t own_version, struct nccl_card *card,
                                   struct ls_error *err)
{
    char who[128];

    card->reason[sizeof card->reason - 1] = '\0';
    if (card->status != LS_OK)
        return ls_error_set(err, ls_status_of_peer(card->status, LS_EPEER), "%s cannot take part: %s",
                            lsi_member_text(group, rank, who), card->reason);
    if (card->version != own_version)
        return ls_error_set(err, LS_EUNSUPPORTED, "rank %d has NCCL %d.%d.%d, %s %d.%d.%d; they must be the same",
                            group->rank, own_version / 10000, own_version / 100 % 100, own_version % 100,
                            lsi_member_text(group, rank, who), card->version / 10000, card->version / 100 % 100,
                            card->version % 100);
    return LS_OK;
}
