import { buildCommand, buildRouteMap, numberParser, type CommandContext } from '@stricli/core'
import type { WebhookEvent } from '@vm0/contract/client'
import { createClient } from '../../client.js'
import { shortId, table } from '../format.js'
import { jsonLine, printableLine } from '../printable.js'
import { help, json } from './shared-flags.js'

const events: WebhookEvent[] = ['run.ended', 'run.died']
/** A message was not taken. */
const notTaken = 3

interface AddFlags {
  event?: WebhookEvent[]
  secret?: string
  description?: string
  json: boolean
}

const webhookId = {
  kind: 'tuple',
  parameters: [{ brief: 'Id of the webhook', parse: String, placeholder: 'ID' }],
} as const

export const webhooks = buildRouteMap({
  docs: {
    brief: 'Who is told how runs end',
    fullDescription: help(['vm0 webhooks', 'vm0 webhooks add https://hooks.example/vm0 --event run.died']),
  },
  defaultCommand: 'ls',
  routes: {
    ls: buildCommand({
      docs: {
        brief: 'List webhooks, the newest first',
        fullDescription: help(['vm0 webhooks', 'vm0 webhooks ls --json']),
      },
      parameters: { flags: { json } },
      async func(this: CommandContext, flags: { json: boolean }) {
        const items = await createClient().webhooks.list()
        if (flags.json) for (const item of items) process.stdout.write(jsonLine(item))
        else
          process.stdout.write(
            table([
              ['WEBHOOK', 'EVENTS', 'WAITING', 'GIVEN UP', 'ADDRESS', 'DESCRIPTION'],
              ...items.map((hook) => [
                hook.id,
                hook.events.join(','),
                String(hook.pending),
                String(hook.failed),
                hook.url,
                hook.description,
              ]),
            ]),
          )
      },
    }),
    add: buildCommand({
      docs: {
        brief: 'Tell an address how runs end; the secret is shown once',
        fullDescription: help(
          [
            'vm0 webhooks add https://hooks.example/vm0',
            'vm0 webhooks add https://hooks.example/vm0 --event run.died --description pager',
          ],
          [
            'Messages have the form of Standard Webhooks, signed with the secret. run.ended (the default) comes at each end of a',
            'run, run.died only when one has died: out of memory, a crash, a lost host.',
          ].join('\n'),
        ),
      },
      parameters: {
        flags: {
          event: {
            kind: 'enum',
            values: events,
            variadic: true,
            optional: true,
            brief: 'What it is told; may be given again',
          },
          secret: {
            kind: 'parsed',
            parse: String,
            optional: true,
            brief: 'Sign with this one instead of a new one',
            placeholder: 'whsec_…',
          },
          description: { kind: 'parsed', parse: String, optional: true, brief: 'For people', placeholder: 'TEXT' },
          json,
        },
        positional: {
          kind: 'tuple',
          parameters: [{ brief: 'Where messages are sent', parse: String, placeholder: 'URL' }],
        },
      },
      async func(this: CommandContext, flags: AddFlags, url: string) {
        const hook = await createClient().webhooks.create(url, {
          ...(flags.event ? { events: flags.event } : {}),
          ...(flags.secret === undefined ? {} : { secret: flags.secret }),
          ...(flags.description === undefined ? {} : { description: flags.description }),
        })
        if (flags.json) process.stdout.write(jsonLine(hook))
        else
          process.stdout.write(
            `webhook ${hook.id} is told ${hook.events.join(' and ')}\nsecret ${hook.secret}\nTry it: vm0 webhooks test ${hook.id}\n`,
          )
      },
    }),
    rm: buildCommand({
      docs: {
        brief: 'Remove a webhook, with what waits for it',
        fullDescription: help(['vm0 webhooks rm 3f9a0c21d4e5']),
      },
      parameters: { flags: { json }, positional: webhookId },
      async func(this: CommandContext, flags: { json: boolean }, id: string) {
        await createClient().webhooks.remove(id)
        if (flags.json) process.stdout.write(jsonLine({ id, removed: true }))
      },
    }),
    deliveries: buildCommand({
      docs: {
        brief: 'What was sent to a webhook, the newest first',
        fullDescription: help(['vm0 webhooks deliveries 3f9a0c21d4e5', 'vm0 webhooks deliveries 3f9a0c21d4e5 --json']),
      },
      parameters: {
        flags: { json, limit: { kind: 'parsed', parse: numberParser, default: '20', brief: 'How many' } },
        positional: webhookId,
      },
      async func(this: CommandContext, flags: { json: boolean; limit: number }, id: string) {
        const { items } = await createClient().webhooks.deliveries(id, { limit: flags.limit })
        if (flags.json) for (const item of items) process.stdout.write(jsonLine(item))
        else
          process.stdout.write(
            table([
              ['QUEUED', 'EVENT', 'RUN', 'STATE', 'ATTEMPTS', 'NEXT', 'LAST ANSWER'],
              ...items.map((item) => [
                item.createdAt,
                item.event,
                item.runId ? shortId(item.runId) : '',
                item.state,
                String(item.attempts),
                item.nextAttemptAt ?? '',
                item.error ?? (item.status === null ? '' : String(item.status)),
              ]),
            ]),
          )
      },
    }),
    test: buildCommand({
      docs: {
        brief: 'Send a message at once and say what came of it',
        fullDescription: help(['vm0 webhooks test 3f9a0c21d4e5']),
      },
      parameters: { flags: { json }, positional: webhookId },
      async func(this: CommandContext, flags: { json: boolean }, id: string) {
        const delivery = await createClient().webhooks.test(id)
        const taken = delivery.state === 'delivered'
        if (flags.json) process.stdout.write(jsonLine(delivery))
        else if (taken) process.stdout.write(`✓ taken, answered ${delivery.status}\n`)
        else process.stdout.write(`✗ not taken: ${printableLine(delivery.error ?? '')}\n`)
        if (!taken) process.exitCode = notTaken
      },
    }),
  },
})
