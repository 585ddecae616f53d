import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { spanIdOf, traceIdOf } from '@vm0/contract'
import type { RunOptions } from '../packages/vm0/src/index.js'
import { startOtlpReceiver, type OtlpReceiver, type OtlpRequest } from './support/otlp-receiver.js'
import { Prometheus } from './support/prometheus.js'
import { TestPlatform } from './support/platform.js'

const bash = (command: string) => [{ name: 'Bash', input: { command, description: 'x' } }]
const script = {
  name: 'observed',
  conversations: [
    { when: 'who am I', steps: [{ tools: bash('echo "parent=$TRACEPARENT"') }, { text: 'told' }] },
    {
      when: 'work',
      steps: [{ tools: bash('echo one > one.txt') }, { tools: bash('exit 3') }, { text: 'All tests pass.' }],
    },
    {
      when: 'make it',
      steps: [
        { tools: bash('echo one > a.txt') },
        { tools: bash('cat a.txt') },
        { tools: bash('echo two >> a.txt') },
        { text: 'made' },
      ],
    },
    { when: 'show it', steps: [{ tools: bash('cat a.txt; echo "colour=$COLOUR"') }, { text: 'shown' }] },
    { when: 'say', steps: [{ text: 'said' }] },
    { when: 'write markup', steps: [{ tools: bash("echo '<script>alert(1)</script>'") }, { text: '<img src=x>' }] },
    { when: 'hang', steps: [{ fault: { kind: 'hang' as const } }] },
  ],
}
const deploy = join(import.meta.dirname, '../deploy/grafana')

let collector: OtlpReceiver
let platform: TestPlatform
let prometheus: Prometheus
beforeAll(async () => {
  collector = await startOtlpReceiver()
  const env = {
    VM0_METRICS: '127.0.0.1:0',
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_EXPORTER_OTLP_HEADERS: 'x-collector-key=abc',
    OTEL_EXPORTER_OTLP_LOGS_PROTOCOL: 'http/json',
    OTEL_EXPORTER_OTLP_TIMEOUT: '1000',
    OTEL_METRIC_EXPORT_INTERVAL: '1000',
  }
  platform = await TestPlatform.start([script], env, { args: ['--warm', '1'] })
  prometheus = await Prometheus.start(metricsUrl().host)
})
afterAll(async () => {
  await prometheus?.close()
  await platform?.stop()
  await collector?.close()
})

function metricsUrl(): URL {
  return new URL(/Metrics are at (\S+)/.exec(platform.words)?.[1] ?? '')
}

async function outputOf(options: RunOptions): Promise<{ id: string; output: string }> {
  const run = platform.client.run(options)
  let output = ''
  for await (const event of run) if (event.type === 'tool.finished') output += event.output
  return { id: run.id, output: output.trim() }
}

test('each stage of a run is a timing, in the order of its way; a new session says whether the pool had a sandbox', async () => {
  const run = platform.client.run({ prompt: 'work' })
  const { timings } = await run
  const { authorisedMs, queuedMs, boundMs, sandboxReadyMs, promptSentMs, firstModelRequestMs, firstTokenMs, totalMs } =
    timings
  const way = [
    authorisedMs,
    queuedMs,
    boundMs,
    sandboxReadyMs,
    promptSentMs,
    firstModelRequestMs,
    firstTokenMs,
    totalMs,
  ]
  expect(way.every((ms) => typeof ms === 'number' && ms >= 0)).toBe(true)
  expect(way).toEqual(way.toSorted((a, b) => a! - b!))
  // The agent's first word may overtake the write of the prompt's last byte, not its first token.
  expect(timings.agentReadyMs).toBeLessThanOrEqual(firstTokenMs!)
  expect(timings.pool).toMatch(/^(hit|miss)$/)
  const again = platform.client.run({ session: run.session, prompt: 'work' })
  expect((await again).timings.pool).toBeNull()
  const { stdout } = await platform.cli('runs', 'show', run.id)
  expect(stdout).toMatch(/authorised .* · placed .* · bound .* · prompt written .* · agent ready .* · first token /)
  expect(stdout).toMatch(/pool +(hit|miss)/)
})

test('what an agent starts finds the span of its run as TRACEPARENT, warm and cold, in the next run too, unless the caller says otherwise', async () => {
  const caller = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
  const parentOf = (id: string, trace = traceIdOf(id)) => `parent=00-${trace}-${spanIdOf(id, 'run')}-01`
  const first = await outputOf({ prompt: 'who am I' })
  expect(first.output).toBe(parentOf(first.id))
  const cold = await outputOf({ prompt: 'who am I', resources: { memoryMiB: 2049 }, traceparent: caller })
  expect(cold.output).toBe(parentOf(cold.id, 'a'.repeat(32)))
  const { sessionId: session } = await platform.client.runs.get(first.id).get()
  const next = await outputOf({ prompt: 'who am I', session })
  expect(next.output).toBe(parentOf(next.id))
  const own = await outputOf({ prompt: 'who am I', session, env: { TRACEPARENT: caller } })
  expect(own.output).toBe(`parent=${caller}`)
  // The span is the root of the trace that the run tells of itself.
  const { spans, traceId } = await platform.client.runs.get(next.id).trace()
  expect(next.output).toBe(`parent=00-${traceId}-${spans[0]!.id}-01`)
})

test('a Prometheus sees runs, stages, tokens, cost, tools and checkpoints, and an exemplar leads to the run', async () => {
  const { id } = await outputOf({ prompt: 'work' })
  await prometheus.until('vm0_runs_finished_total{project="default",outcome="succeeded"} > 0')
  const [failed] = await prometheus.until(
    'gen_ai_execute_tool_duration_seconds_count{gen_ai_tool_name="Bash",error_type="tool_error"} > 0',
  )
  expect(failed!.metric.job).toBe('vm0')
  for (const stage of ['authorised', 'placed', 'bound', 'agent_ready', 'first_model_request', 'first_token'])
    expect(await prometheus.until(`vm0_run_stage_seconds_count{stage="${stage}"} > 0`)).not.toEqual([])
  expect(await prometheus.until('sum(vm0_run_cost_usd_total{gen_ai_request_model=~"claude.*"}) > 0')).toHaveLength(1)
  expect(await prometheus.until('vm0_checkpoint_size_bytes_sum{cause="tool"} > 0')).toHaveLength(1)
  const runs = (await platform.client.runs.list()).items.map((run) => run.id)
  let found: Record<string, string>[] = []
  while (found.length === 0) found = await prometheus.exemplars('vm0_run_stage_seconds_bucket')
  expect(runs).toContain(found[0]!.run_id)
  expect(runs).toContain(id)
})

test('an exemplar has the id of the trace too: of the caller, where the run goes on with a trace of its caller', async () => {
  const trace = 'c'.repeat(32)
  const run = platform.client.run({ prompt: 'work', traceparent: `00-${trace}-${'d'.repeat(16)}-01` })
  await run
  const { traceId } = await run.trace()
  expect(traceId).toBe(trace)
  const text = await (await fetch(metricsUrl())).text()
  const exemplars = (id: string): string[] => [
    ...new Set(
      [...text.matchAll(new RegExp(`^(\\w+)_bucket.* # \\{run_id="${id}",trace_id="([0-9a-f]+)"\\} `, 'gm'))]
        .map(([, name, found]) => `${name} ${found}`)
        .toSorted(),
    ),
  ]
  expect(exemplars(run.id)).toEqual(
    expect.arrayContaining([`vm0_run_duration_seconds ${trace}`, `vm0_run_stage_seconds ${trace}`]),
  )
  const own = platform.client.run({ prompt: 'work' })
  await own
  await prometheus.until('vm0_runs_finished_total{outcome="succeeded"} > 0')
  let found: Record<string, string>[] = []
  while (!found.some(({ run_id: id }) => id === own.id))
    found = await prometheus.exemplars('vm0_run_duration_seconds_bucket')
  expect(found.find(({ run_id: id }) => id === own.id)).toEqual({ run_id: own.id, trace_id: traceIdOf(own.id) })
})

test('what leaves sandboxes is counted by where it goes: the model endpoint, the registries of the host, the rest', async () => {
  const host = new URL(platform.model.url).hostname
  const [requests] = await prometheus.until(`vm0_egress_requests_total{destination="${host}"} > 0`)
  expect(Number(requests!.value[1])).toBeLessThanOrEqual(platform.model.requests.length)
  for (const direction of ['sent', 'received'])
    await prometheus.until(`vm0_egress_bytes_total{via="gateway",destination="${host}",direction="${direction}"} > 100`)
  const direct = await prometheus.until('vm0_egress_bytes_total{via="direct",direction="sent"} >= 0')
  expect(direct.map(({ metric }) => metric.destination)).toEqual(expect.arrayContaining(['internet', 'name_servers']))
  await prometheus.until('vm0_egress_refused_packets_total == 0')
})

test('a run that is cancelled before it starts, or while it works, counts as cancelled', async () => {
  const first = platform.client.run({ prompt: 'hang' })
  const waiting = first.session.run('hang')
  for await (const event of first) if (event.type === 'model.request') break
  await waiting.cancel()
  await first.cancel()
  expect([(await waiting.result()).outcome, (await first.result()).outcome]).toEqual(['cancelled', 'cancelled'])
  const [count] = await prometheus.until('sum(vm0_runs_finished_total{outcome="cancelled"}) >= 2')
  expect(count!.value[1]).toBe('2')
})

test('runs are listed by outcome, reason, label and time, a page at a time', async () => {
  const { client } = platform
  const parts = ['one', 'two', 'three']
  const { session } = await client.run({ prompt: 'say', labels: { list: 'yes', part: parts[0]! } })
  for (const part of parts.slice(1)) await client.run({ session, prompt: 'say', labels: { list: 'yes', part } })
  const cancelled = client.run({ prompt: 'hang', labels: { list: 'yes' } })
  for await (const event of cancelled) if (event.type === 'model.request') await cancelled.cancel()
  const ids = async (options: Parameters<typeof client.runs.list>[0]) =>
    (await client.runs.list(options)).items.map(({ labels, state }) => labels.part ?? state)
  expect(await ids({ label: 'list=yes' })).toEqual(['cancelled', 'three', 'two', 'one'])
  expect(await ids({ label: 'list=yes', state: 'succeeded', limit: 2 })).toEqual(['three', 'two'])
  const { next } = await client.runs.list({ label: 'list=yes', state: 'succeeded', limit: 2 })
  expect(await ids({ label: 'list=yes', state: 'succeeded', limit: 2, before: next! })).toEqual(['one'])
  expect(await ids({ label: 'list=yes', reason: 'cancelled' })).toEqual(['cancelled'])
  expect(await ids({ label: 'list=yes', since: new Date(Date.now() + 60_000) })).toEqual([])
  const { stdout } = await platform.cli(
    'runs',
    'ls',
    '--outcome',
    'cancelled',
    '--since',
    '1d',
    '--label',
    'list=yes',
    '--json',
  )
  expect(JSON.parse(stdout)).toMatchObject({ id: cancelled.id, state: 'cancelled' })
  expect((await platform.cli('runs', 'ls', '--since', 'yesterday')).status).toBe(2)
  expect((await platform.fetch('/v1/runs?state=gone')).status).toBe(400)
  expect((await platform.fetch('/v1/runs?label=x')).status).toBe(400)
})

test('groups of runs are compared with intervals, and two runs by what was called', async () => {
  const { client } = platform
  const runs = []
  for (const variant of ['a', 'a', 'b']) {
    const run = client.run({ prompt: variant === 'a' ? 'work' : 'make it', labels: { variant } })
    await run
    runs.push(await run.get())
  }
  const { cohorts, more } = await client.insights({ by: 'label:variant', label: 'variant=a' })
  expect(more).toBe(false)
  expect(cohorts).toMatchObject([{ value: 'a', runs: 2, enough: false, success: { value: 1, n: 2 }, difference: null }])
  expect(cohorts[0]!.toolFailures.value).toBe(1)
  const all = await client.insights({ by: 'label:variant' })
  expect(all.cohorts.map(({ value }) => value)).toEqual(expect.arrayContaining(['', 'a', 'b']))
  expect(all.cohorts[1]!.difference!.success.n).toBe(2)
  const models = await client.insights({ by: 'model', label: 'variant=a' })
  expect(models.cohorts[0]!.value).toMatch(/^claude/)
  const comparison = await client.runs.compare(runs[0]!.id, runs[2]!.id)
  expect(comparison.settings.map(({ name }) => name)).toEqual(['prompt', 'label:variant'])
  expect(comparison.calls.map(({ in: where }) => where).toSorted()).toEqual(['a', 'a', 'b', 'b', 'b'])
  const table = (await platform.cli('insights', '--by', 'label:variant')).stdout
  expect(table).toMatch(/COHORT +RUNS +SUCCEEDED/)
  expect(table).toMatch(/\na +2 +100% \(34% to 100%\)/)
  const { stdout } = await platform.cli('compare', runs[0]!.id, runs[2]!.id)
  expect(stdout).toMatch(/^prompt +work +make it$/m)
  expect(stdout).toContain('- Bash exit 3   exit 3')
  expect((await platform.cli('insights', '--by', 'colour')).status).toBe(2)
  expect((await platform.fetch('/v1/insights?by=colour')).status).toBe(400)
  expect((await platform.fetch(`/v1/runs/${runs[0]!.id}/compare/${crypto.randomUUID()}`)).status).toBe(404)
})

test('a run is tried again from one of its calls on: files and conversation as before it, the same settings, another prompt', async () => {
  const { client } = platform
  const run = client.run({ prompt: 'make it', env: { COLOUR: 'teal' }, labels: { team: 'x' } })
  await run
  const again = await run.replay({ from: '3', prompt: 'show it' })
  expect(again).toMatchObject({ callsBetween: 1, checkpoint: expect.stringMatching(/^sha256:/) })
  const output: string[] = []
  for await (const event of again.run) if (event.type === 'tool.finished') output.push(event.output.trim())
  expect(output).toEqual(['one\ncolour=teal'])
  expect((await again.run.get()).labels).toEqual({ team: 'x', 'replay-of': run.id })
  const asked = platform.model.requests.find(({ messages }) => JSON.stringify(messages.at(-1)).includes('show it'))
  expect(JSON.stringify(asked!.messages)).toContain('echo one > a.txt')
  expect(JSON.stringify(asked!.messages)).not.toContain('echo two')
  // From the first call on there is nothing yet: it is the run's own prompt again.
  const { stdout, status } = await platform.cli('replay', run.id, '--from', '1')
  expect(stdout).toContain('from the beginning')
  expect(stdout).toContain('▸ Bash   echo two >> a.txt')
  expect(status).toBe(0)
  await expect(run.replay({ from: '9' })).rejects.toMatchObject({ code: 'INVALID_REQUEST' })
})

test('a run is one page of HTML, in which whatever was written is text', async () => {
  const run = platform.client.run({ prompt: 'write markup' })
  await run
  const file = join(platform.directory, 'run.html')
  expect((await platform.cli('trace', run.id, '--html', file)).status).toBe(0)
  const page = await readFile(file, 'utf8')
  expect(page).toContain('&lt;script&gt;alert(1)&lt;/script&gt;')
  expect(page).not.toMatch(/<script|<img|https?:/)
  const response = await platform.fetch(`/v1/runs/${run.id}/trace?format=html`)
  expect(response.headers.get('content-type')).toBe('text/html; charset=utf-8')
  expect(response.headers.get('content-disposition')).toContain('attachment')
  expect(await response.text()).toBe(page)
})

test('every metric that the dashboard and the alerts use is in a real scrape, and their expressions are accepted', async () => {
  await prometheus.until('vm0_runs_finished_total{outcome="cancelled"} > 0')
  const dashboard = JSON.parse(await readFile(join(deploy, 'vm0-dashboard.json'), 'utf8')) as {
    panels: { title: string; targets: { expr: string }[] }[]
  }
  const rules =
    (await readFile(join(deploy, 'vm0-rules.yml'), 'utf8')).match(/expr:[^]*?(?=\n +(?:for|labels):)/g) ?? []
  const expressions = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr))
  for (const expression of expressions)
    await prometheus.query(expression.replaceAll('$__rate_interval', '1m').replaceAll('$project', '.*'))
  const used = new Set(
    [...expressions, ...rules].flatMap((text) => text.match(/\b(vm0_|gen_ai_)[a-z_]+\b(?=[{[)\s])/g) ?? []),
  )
  for (const label of ['gen_ai_tool_name', 'gen_ai_request_model']) used.delete(label)
  if (!existsSync('/proc/pressure/memory')) used.delete('vm0_host_memory_pressure_ratio')
  expect(used.size).toBeGreaterThan(15)
  const names = await prometheus.names()
  expect([...used].filter((name) => !names.includes(name))).toEqual([])
})

test('the alert rules fire when they should, and not otherwise', async () => {
  const run = promisify(execFile)
  await run('promtool', ['check', 'rules', join(deploy, 'vm0-rules.yml')])
  await run('promtool', ['check', 'config', join(deploy, 'prometheus.yml')])
  await run('promtool', ['test', 'rules', join(deploy, 'vm0-rules.test.yml')])
})

test('the metrics have an address of their own: the API does not show them, they show nothing else', async () => {
  expect((await platform.fetch('/metrics')).status).toBe(404)
  expect((await platform.fetch('/v1/metrics')).status).toBe(404)
  const scrape = await fetch(metricsUrl())
  expect(scrape.headers.get('content-type')).toContain('application/openmetrics-text')
  expect((await scrape.text()).endsWith('# EOF\n')).toBe(true)
  expect((await fetch(new URL('/v1/runs', metricsUrl()))).status).toBe(404)
  expect((await fetch(metricsUrl(), { method: 'POST' })).status).toBe(404)
})

/** A request that has something of the run in it. */
const of =
  (path: OtlpRequest['path'], id: string, ...texts: string[]) =>
  ({ path: its, body }: OtlpRequest): boolean => {
    const text = JSON.stringify(body)
    return its === path && [id, ...texts].every((each) => text.includes(each))
  }
const traces = (id: string) => of('/v1/traces', id, '"vm0.run"')

test('a collector gets the trace of a run, its events as logs, and the metrics, by the official definitions; no content', async () => {
  const secret = 'hunter22-and-more'
  const run = platform.client.run({ prompt: 'make it', env: { TOKEN: secret } })
  await run
  const request = await collector.until(traces(run.id))
  expect(request).toMatchObject({ contentType: 'application/x-protobuf', headers: { 'x-collector-key': 'abc' } })
  const { traceId, spans } = await run.trace()
  interface Sent {
    resourceSpans: {
      scopeSpans: { spans: { traceId: string; spanId: string; name: string; parentSpanId?: string }[] }[]
    }[]
  }
  const sent = (request.body as unknown as Sent).resourceSpans[0]!.scopeSpans[0]!.spans
  expect(sent.map(({ spanId }) => spanId).toSorted()).toEqual(spans.map(({ id }) => id).toSorted())
  expect(new Set(sent.map((span) => span.traceId))).toEqual(new Set([traceId]))
  expect(sent.map(({ name }) => name)).toContain('execute_tool Bash')
  const log = await collector.until(of('/v1/logs', run.id, '"run.finished"'))
  expect(log.contentType).toBe('application/json')
  expect(JSON.stringify(log.body)).toContain(traceId)
  await collector.until(of('/v1/metrics', 'vm0_runs_finished_total'))
  const all = JSON.stringify(collector.requests.map(({ body }) => body))
  for (const content of ['echo one', 'make it', secret, 'a.txt']) expect(all).not.toContain(content)
  expect(collector.problems).toEqual([])
})

test('a project may let content out, without the secrets in it, or nothing at all', async () => {
  const { client } = platform
  const secret = 'hunter22-and-more'
  expect((await platform.cli('projects', 'set', 'default', '--capture', 'full')).stdout).toMatch(/^default .* full /m)
  const full = client.run({ prompt: `show it: ${secret}`, env: { COLOUR: secret } })
  await full
  const text = JSON.stringify((await collector.until(traces(full.id))).body)
  for (const content of ['show it: [redacted]', 'cat a.txt', 'colour=[redacted]']) expect(text).toContain(content)
  expect(text).not.toContain(secret)
  expect(await client.projects.update('default', { capture: 'none' })).toMatchObject({ capture: 'none' })
  const none = await client.run({ prompt: 'say' })
  // What is exported goes out in order: a later run of a project that lets it out shows that this one was looked at.
  const other = await platform.project('lets-out')
  const after = other.client.run({ prompt: 'say' })
  await after
  await collector.until(of('/v1/logs', after.id, '"run.finished"'))
  await client.projects.update('default', { capture: 'metadata' })
  const { id } = await client.runs.list({ limit: 1 }).then(({ items }) => items[0]!)
  const later = client.run({ session: none.session, prompt: 'say' })
  await later
  await collector.until(traces(later.id))
  await collector.until(of('/v1/logs', later.id, '"run.finished"'))
  expect(collector.requests.filter(of('/v1/logs', id))).toEqual([])
  await expect(client.projects.update('no-such', { capture: 'none' })).rejects.toMatchObject({ code: 'NOT_FOUND' })
})

test('a collector that hangs or refuses holds up no run: what it does not take is counted, and later it gets the rest', async () => {
  collector.answer = 'hang'
  expect((await platform.client.run({ prompt: 'say' })).outcome).toBe('succeeded')
  await prometheus.until('vm0_telemetry_dropped_total{signal="traces",reason="unreachable"} > 0')
  collector.answer = 400
  expect((await platform.client.run({ prompt: 'say' })).outcome).toBe('succeeded')
  await prometheus.until('vm0_telemetry_dropped_total{signal="traces",reason="refused"} > 0')
  collector.answer = 'take'
  const run = platform.client.run({ prompt: 'say' })
  await run
  await collector.until(traces(run.id))
  await prometheus.until('vm0_telemetry_exported_total{signal="logs"} > 0')
})
