/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a member waits for. For other threads to see: one word with rank, operation and label, and since when; the
 * reader takes both or, where they change under its eyes, nothing. For its peers: where a wait is long they are told.
 */
#include "collective/group_impl.h"

/* Bits 0 to 15: 1 + rank (0: not known); 16 to 23: 1 + kind (0: no wait); 32 to 63: label. */
static uint64_t word_of(const struct ls_group *group)
{
    return (uint64_t)(uint16_t)(group->waits_for + 1) | (uint64_t)(group->head->op.kind + 1) << 16 |
           (uint64_t)group->head->op.label << 32;
}

void lsi_waiting_say(struct ls_group *group)
{
    uint64_t word = group->head != NULL ? word_of(group) : 0;

    if (atomic_load_explicit(&group->wait_word, memory_order_relaxed) == word &&
        atomic_load_explicit(&group->wait_since_ns, memory_order_relaxed) == group->since_ns)
        return;
    atomic_store_explicit(&group->wait_word, 0, memory_order_release);
    atomic_store_explicit(&group->wait_since_ns, group->since_ns, memory_order_release);
    atomic_store_explicit(&group->wait_word, word, memory_order_release);
}

void lsi_waiting_clear(struct ls_group *group)
{
    if (atomic_load_explicit(&group->wait_word, memory_order_relaxed) != 0)
        atomic_store_explicit(&group->wait_word, 0, memory_order_release);
}

void lsi_waiting_tell(struct ls_group *group)
{
    if (group->told_wait == group->waits_for || group->ops->tell_wait == NULL)
        return;
    group->told_wait = group->waits_for;
    group->ops->tell_wait(group->state, group->waits_for);
}

void lsi_waiting_retract(struct ls_group *group)
{
    if (group->told_wait < 0)
        return;
    group->told_wait = -1;
    group->ops->tell_wait(group->state, -1);
}

bool ls_group_waiting(const struct ls_group *group, struct ls_group_wait *wait)
{
    uint64_t word = atomic_load_explicit(&group->wait_word, memory_order_acquire);
    uint64_t since = atomic_load_explicit(&group->wait_since_ns, memory_order_acquire);

    if (word == 0 || word != atomic_load_explicit(&group->wait_word, memory_order_acquire))
        return false;
    *wait = (struct ls_group_wait){.rank = (int)(word & 0xffff) - 1,
                                   .kind = (enum ls_collective_kind)((int)(word >> 16 & 0xff) - 1),
                                   .label = (uint32_t)(word >> 32),
                                   .since_ns = since};
    return true;
}

int ls_group_missing(const struct ls_group *group)
{
    return group->waits_for;
}
