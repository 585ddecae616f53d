import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { acceptRun, openDatabase, openSecrets, type Database } from '@vm0/backends'
import { webhookSignature, type WebhookMessage } from '@vm0/contract'
import { startPostgres, type PostgresServer } from '@vm0/testkit'
import { sql } from 'kysely'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import type { WebhookTargets } from './addresses.js'
import { Outbox } from './outbox.js'
import { post } from './post.js'
import { WebhookSender, type DeliveryOutcome } from './sender.js'
import { Webhooks } from './webhooks.js'

let directory: string
let postgres: PostgresServer
let databaseUrl: string
let database: Database
let receiver: Server
let url: string
let project: string
/** Status that each message is answered with, by its number from 0; `hang`: with none. */
let answers: (number | 'hang')[] = []
let got: { id: string; body: string; isSigned: boolean }[] = []
let onGot: (() => void)[] = []
let secret = ''

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'vm0-webhooks-'))
  postgres = await startPostgres()
  databaseUrl = await postgres.createDatabase()
  database = await openDatabase({ url: databaseUrl })
  receiver = createServer((request, response) => {
    void (async () => {
      let body = ''
      for await (const chunk of request) body += chunk
      const { 'webhook-id': id, 'webhook-timestamp': time, 'webhook-signature': signature } = request.headers
      const isSigned = signature === webhookSignature(secret, String(id), String(time), body)
      const answer = answers[got.length] ?? 204
      got.push({ id: String(id), body, isSigned })
      for (const tell of onGot) tell()
      if (answer !== 'hang') response.writeHead(answer).end()
    })()
  }).listen(0, '127.0.0.1')
  await once(receiver, 'listening')
  url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/`
})
afterAll(async () => {
  receiver?.closeAllConnections()
  receiver?.close()
  await database?.close()
  await postgres?.stop()
  await rm(directory, { recursive: true, force: true })
})
const opened: WebhookSender[] = []
afterEach(async () => {
  for (const sender of opened.splice(0)) await sender.close()
  await database.db.deleteFrom('webhooks').execute()
})
beforeEach(async () => {
  project = randomUUID()
  await database.db.insertInto('projects').values({ id: project, name: 'P' }).execute()
  answers = []
  got = []
  onGot = []
})

/** The part of a platform that tells webhooks. What a run's message says is of no interest here. */
async function open(targets: WebhookTargets = 'any') {
  const secrets = await openSecrets(join(directory, 'master.json'))
  const outbox = new Outbox(database)
  const outcomes: DeliveryOutcome[] = []
  const told: (() => void)[] = []
  const sender: WebhookSender = new WebhookSender({
    outbox,
    targets,
    targetOf: (projectId, id) => webhooks.targetOf(projectId, id),
    messageOf: async (type, _project, runId) => ({ type, data: { run: { id: runId } } }) as WebhookMessage,
    onOutcome(outcome) {
      outcomes.push(outcome)
      for (const tell of told) tell()
    },
    onError(error) {
      throw error
    },
  })
  const webhooks: Webhooks = new Webhooks({ database, secrets, outbox, targets }, sender)
  opened.push(sender)
  const outcome = (count: number) =>
    new Promise<DeliveryOutcome[]>((resolve) => {
      const look = (): void => {
        if (outcomes.length >= count) resolve(outcomes)
      }
      told.push(look)
      look()
    })
  return { webhooks, sender, outbox, outcome }
}

const messages = (count: number) =>
  new Promise<typeof got>((resolve) => {
    const look = (): void => {
      if (got.length >= count) resolve(got)
    }
    onGot.push(look)
    look()
  })

async function endRun(state: 'succeeded' | 'died'): Promise<string> {
  const [id, sessionId] = [randomUUID(), randomUUID()]
  await acceptRun(
    database,
    {
      projectId: project,
      id,
      sessionId,
      framework: 'claude-code',
      model: null,
      labels: {},
      bodyHash: 'r',
      spec: Buffer.from('x'),
      timings: {},
      ageMs: 0,
    },
    { template: 't', resources: {}, labels: {}, bodyHash: 's' },
    10,
  )
  await database.db.updateTable('runs').set({ state }).where('id', '=', id).execute()
  return id
}

async function hook({ webhooks }: Awaited<ReturnType<typeof open>>, events: ('run.ended' | 'run.died')[]) {
  const made = await webhooks.create(project, { url, events, description: '' })
  secret = made.secret!
  return made
}

test('the end of a run queues what is told of it, whoever writes it, once, and only to who asked for it', async () => {
  const platform = await open()
  const { id: deaths } = await hook(platform, ['run.died'])
  const { id: both } = await hook(platform, ['run.ended', 'run.died'])
  const died = await endRun('died')
  const succeeded = await endRun('succeeded')
  await database.db.updateTable('runs').set({ state: 'succeeded', reason: 'again' }).where('id', '=', died).execute()
  const queued = async (id: string) =>
    (await platform.webhooks.deliveries(project, id, { limit: 10 })).items.map(({ event, runId }) => [event, runId])
  expect(await queued(deaths)).toEqual([['run.died', died]])
  expect((await queued(both)).toSorted()).toEqual(
    [
      ['run.died', died],
      ['run.ended', died],
      ['run.ended', succeeded],
    ].toSorted(),
  )
  // An end that is undone tells nothing.
  await database.db
    .transaction()
    .execute(async (trx) => {
      await trx.updateTable('runs').set({ state: 'queued' }).where('id', '=', succeeded).execute()
      await trx.updateTable('runs').set({ state: 'died' }).where('id', '=', succeeded).execute()
      throw new Error('undo')
    })
    .catch(() => undefined)
  expect(await queued(deaths)).toHaveLength(1)
})

test('what a platform that was killed had queued, or had on its way, is told by the next one', async () => {
  const before = await open()
  await hook(before, ['run.ended'])
  const first = await endRun('died')
  // Its sender is never woken again: as after SIGKILL.
  const second = await endRun('succeeded')
  const [due] = await before.outbox.due([], { all: 1, perProject: 1, perWebhook: 1 })
  const taken = await before.outbox.take(due!)
  expect(taken).toMatchObject({ run_id: first, attempts: 1 })
  await database.close()
  database = await openDatabase({ url: databaseUrl })
  const after = await open()
  after.sender.wake()
  await messages(1)
  expect(got.map(({ body }) => (JSON.parse(body) as { data: object }).data)).toEqual([{ run: { id: second } }])
  // The one that was on its way counts as lost after a while.
  await sql`update webhook_deliveries set next_at = now() where id = ${taken!.id}`.execute(database.db)
  after.sender.wake()
  await messages(2)
  expect(got.map(({ id, isSigned }) => [id === taken!.id, isSigned])).toEqual([
    [false, true],
    [true, true],
  ])
  await after.outcome(2)
  expect(await after.outbox.settle(taken!, 'failed', { status: null, error: 'late' })).toBeUndefined()
})

test('a receiver that fails gets the message again with the same id, until it is given up; one that hangs waits alone', async () => {
  const platform = await open()
  const { id } = await hook(platform, ['run.ended'])
  answers = ['hang', 500, 200, 500]
  await endRun('succeeded')
  platform.sender.wake()
  await messages(1)
  await endRun('succeeded')
  platform.sender.wake()
  // While the first hangs the second is told, and told again after a pause.
  expect((await platform.outcome(2)).slice(0, 2)).toEqual(['retried', 'delivered'])
  expect(got[2]!.id).toBe(got[1]!.id)
  const [second, hung] = (await platform.webhooks.deliveries(project, id, { limit: 10 })).items
  expect(second).toMatchObject({ state: 'delivered', attempts: 2, status: 200, error: null })
  expect(hung).toMatchObject({ state: 'pending', attempts: 1 })
  await endRun('succeeded')
  await sql`update webhook_deliveries set created_at = now() - interval '1 day' where attempts = 0`.execute(database.db)
  platform.sender.wake()
  expect((await platform.outcome(3))[2]).toBe('failed')
  const [third] = (await platform.webhooks.deliveries(project, id, { limit: 1 })).items
  expect(third).toMatchObject({ state: 'failed', attempts: 1, status: 500, error: 'answered 500; expected 2xx' })
  // The end of the platform doesn't wait for who hangs, and leaves the message to the next one.
  await platform.sender.close()
  const [, , left] = (await platform.webhooks.deliveries(project, id, { limit: 10 })).items
  expect(left).toMatchObject({ state: 'pending', error: 'the platform was stopped' })
  expect(Date.parse(left!.nextAttemptAt!)).toBeLessThanOrEqual(Date.now() + 1000)
})

test('addresses of the platform and its network are refused where webhooks may be public alone, by whatever name', async () => {
  const platform = await open('public')
  const create = (address: string) =>
    platform.webhooks.create(project, { url: address, events: ['run.ended'], description: '' })
  for (const address of [
    url,
    'https://127.0.0.1/',
    'https://localhost:7300/v1/runs',
    'https://[::1]/',
    'https://0x7f.1/',
    'https://2130706433/',
    'https://[::ffff:169.254.169.254]/latest',
    'https://169.254.169.254/latest',
    'http://example.com/',
  ])
    await expect(create(address)).rejects.toMatchObject({ code: 'WEBHOOK_TARGET_REFUSED' })
  const attempt = { headers: {}, body: '{}', signal: new AbortController().signal }
  const local = url.replace('127.0.0.1', 'localhost')
  expect(await post({ ...attempt, url: local, targets: 'public' })).toMatchObject({
    status: null,
    error: 'localhost leads to 127.0.0.1, where no webhook may go',
  })
  expect(got).toEqual([])
  expect(await post({ ...attempt, url: local, targets: 'any' })).toEqual({ status: 204, error: null })
  expect(await post({ ...attempt, url: 'https://name.invalid/', targets: 'any' })).toMatchObject({ status: null })
})

test('a project has ten webhooks at most, also of those that come at once', async () => {
  const platform = await open()
  const made = await Promise.allSettled(Array.from({ length: 12 }, () => hook(platform, ['run.ended'])))
  const refused = made.filter((each): each is PromiseRejectedResult => each.status === 'rejected')
  expect(refused.map(({ reason }) => (reason as { code: string }).code)).toEqual(['WEBHOOK_LIMIT', 'WEBHOOK_LIMIT'])
  const all = await platform.webhooks.list(project)
  expect(all).toHaveLength(10)
  // What waits goes with it, and what ends meanwhile is not held up.
  await endRun('succeeded')
  await platform.webhooks.remove(project, all[0]!.id)
  await expect(platform.webhooks.remove(project, all[0]!.id)).rejects.toMatchObject({ code: 'NOT_FOUND' })
  await expect(platform.webhooks.test('other', all[1]!.id)).rejects.toMatchObject({ code: 'NOT_FOUND' })
  const { rows } = await sql<{ count: number }>`
    select count(*)::int as count from webhook_deliveries where project_id = ${project}`.execute(database.db)
  expect(rows[0]!.count).toBe(9)
})
