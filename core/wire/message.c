/* SPDX-License-Identifier: Apache-2.0 */
/* The table of message types, and the end of a message. */
#include "core/wire/message.h"

#include "core/base/alloc.h"

static const struct {
    const char *name;
    uint32_t limit;
} types[LS_MESSAGE_END] = {
#define LS_MESSAGE_ROW(name, number, limit) [number] = {#name, limit},
    LS_MESSAGE_LIST(LS_MESSAGE_ROW)
#undef LS_MESSAGE_ROW
};

const char *ls_message_name(int type)
{
    return type > 0 && type < LS_MESSAGE_END ? types[type].name : "unknown";
}

uint32_t ls_message_limit(int type)
{
    return type > 0 && type < LS_MESSAGE_END ? types[type].limit : 0;
}

void ls_wire_job_deinit(struct ls_wire_job *job)
{
    for (int i = 0; i < job->override_count; i++)
        ls_free(job->overrides[i]);
    ls_free(job->overrides);
    ls_free(job->path);
    ls_free(job->text);
    ls_free(job->model_text);
    *job = (struct ls_wire_job){.path = NULL};
}

void ls_message_deinit(struct ls_message *message)
{
    if (message->type == LS_MESSAGE_ASSIGNMENT)
        ls_free(message->assignment.members);
    else if (message->type == LS_MESSAGE_FINISH)
        ls_free(message->finish.text);
    else if (message->type == LS_MESSAGE_JOB)
        ls_wire_job_deinit(&message->job);
    message->type = LS_MESSAGE_END;
}
