/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job for workers that bring none: made once, sent to whoever has proved the secret. The connection then belongs to
 * the worker to close; it counts as a stranger's and ends with the time that those have.
 */
#include "coordinator/server/server_internal.h"

#include "core/base/alloc.h"
#include "core/base/fs.h"
#include "core/base/str.h"

#include <stdio.h>
#include <string.h>

#define MARGIN 256 /* bytes of a job's message beside its texts' */

static bool copy_text(char **to, size_t *length, const void *text, size_t bytes)
{
    *to = ls_alloc(bytes + 1);
    if (*to == NULL)
        return false;
    if (bytes > 0)
        memcpy(*to, text, bytes);
    *length = bytes;
    return true;
}

/* The words, without the files. False where memory is short. */
static bool copy_words(const struct ls_server_options *options, struct ls_wire_job *job)
{
    job->path = ls_str_copy(options->job_path);
    job->max_steps = options->job_max_steps;
    job->overrides = ls_alloc_zeroed((size_t)options->job_override_count + 1, sizeof *job->overrides);
    if (job->path == NULL || job->overrides == NULL)
        return false;
    for (int i = 0; i < options->job_override_count; i++) {
        job->overrides[i] = ls_str_copy(options->job_overrides[i]);
        if (job->overrides[i] == NULL)
            return false;
        job->override_count++;
    }
    return true;
}

/* A worker's decoder is the judge of what can be sent. Returns the payload's bytes, 0 where it cannot be. */
static size_t try_out(struct ls_message *message, struct ls_error *err)
{
    struct ls_message heard;
    struct ls_buf payload = {0};
    enum ls_status status = ls_message_encode(message, &payload, err);
    size_t bytes = payload.length;

    if (status == LS_OK)
        status = ls_message_decode(LS_MESSAGE_JOB, payload.data, payload.length, &heard, err);
    if (status == LS_OK)
        ls_message_deinit(&heard);
    ls_buf_deinit(&payload);
    return status == LS_OK ? bytes : 0;
}

/* Adds the files' texts as far as they fit; what does not is read by the worker at its path. */
static bool add_texts(const struct ls_server_options *options, struct ls_wire_job *job, size_t room)
{
    struct ls_buf text = {0};
    bool ok = true;

    if (ls_fs_read(options->job_path, room, &text, NULL) == LS_OK) {
        ok = copy_text(&job->text, &job->text_length, text.data, text.length);
        room -= text.length;
    }
    ls_buf_deinit(&text);
    if (ok && options->job_model_text != NULL && options->job_model_length <= room)
        ok = copy_text(&job->model_text, &job->model_length, options->job_model_text, options->job_model_length);
    return ok;
}

enum ls_status lsi_job_make(struct ls_server *server, struct ls_error *err)
{
    struct ls_error why = LS_ERROR_INIT;
    size_t bytes;

    if (server->options.job_path == NULL) {
        (void)ls_str_into(server->no_job, sizeof server->no_job,
                          "give the worker a job file: this coordinator has none to hand out");
        return LS_OK;
    }
    server->job = ls_alloc_zeroed(1, sizeof *server->job);
    if (server->job == NULL)
        return ls_error_set(err, LS_ENOMEM, "not enough memory for the job's words");
    server->job->type = LS_MESSAGE_JOB;
    if (!copy_words(&server->options, &server->job->job))
        return ls_error_set(err, LS_ENOMEM, "not enough memory for the job's words");
    bytes = try_out(server->job, &why);
    if (bytes == 0 || bytes + MARGIN > LS_WIRE_JOB_BYTES) {
        (void)snprintf(server->no_job, sizeof server->no_job,
                       "give the worker the job file and its overrides: they cannot be handed out (%.120s)",
                       bytes == 0 ? why.message : "too long");
        lsi_job_free(server);
        return LS_OK;
    }
    if (!add_texts(&server->options, &server->job->job, LS_WIRE_JOB_BYTES - MARGIN - bytes))
        return ls_error_set(err, LS_ENOMEM, "not enough memory for the job's words");
    return LS_OK;
}

void lsi_job_free(struct ls_server *server)
{
    if (server->job != NULL)
        ls_message_deinit(server->job);
    ls_free(server->job);
    server->job = NULL;
}

void lsi_handle_job_request(struct lsi_connection *connection, const struct ls_message *message)
{
    struct ls_server *server = connection->server;

    if (!ls_wire_verify(server->options.secret, LS_WIRE_WORKER, &connection->transcript, message->job_request.proof)) {
        lsi_connection_drop(connection, "it has another secret", false);
        return;
    }
    if (server->job == NULL) {
        lsi_connection_refuse(connection, LS_EINVAL, server->no_job);
        return;
    }
    connection->stage = LSI_DECIDING;
    connection->channel.allowed = 0;
    lsi_connection_send(connection, server->job);
}
