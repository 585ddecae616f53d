import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Run, Span } from '../packages/vm0/src/index.js'
import { Browser, chromium } from './support/browser.js'
import { command, objects } from './support/command.js'
import { TestPlatform } from './support/platform.js'

const bash = (line: string) => ({ tools: [{ name: 'Bash', input: { command: line, description: 'x' } }] })
/** Acts in a page, and on a terminal, that doesn't take it for text. */
const hostile = String.raw`printf '%b' '</pre><script>window.acted = 1</script><img src=x onerror="window.acted=2">'
printf '%b' '<link rel=stylesheet href=http://192.0.2.1/x.css>\033[2J\033]0;title\007\0233' '</style><b onclick=alert(1)>'
python3 -c 'kept = bytearray(40 << 20); import time; time.sleep(1.2)' # <svg/onload=alert(1)>`
const script = {
  name: 'insight',
  conversations: [
    {
      when: '^send somebody',
      steps: [
        {
          tools: [
            { name: 'Agent', input: { description: 'Look', prompt: 'look down', subagent_type: 'general-purpose' } },
          ],
        },
        bash('sleep 0.3; echo ok > a.txt'),
        { text: 'Nobody.' },
      ],
    },
    { when: '^look down', steps: [bash('sleep 0.3; echo nobody'), { text: 'Nobody is there.' }] },
    {
      when: '^print',
      steps: [
        { text: '<script>window.acted = "message"</script>', ...bash(hostile) },
        { text: '"><iframe srcdoc="<script>parent.acted = 1</script>"></iframe>' },
      ],
    },
    {
      when: '^work',
      steps: [
        { text: 'I look. ', ...bash('echo one > a.txt; sleep 0.3') },
        { ...bash('ls /nothing'), usage: { input: 10, output: 5, cacheRead: 100, cacheWrite: 7 } },
        { text: 'Done.' },
      ],
    },
  ],
}

let platform: TestPlatform
let worked: Run
beforeAll(async () => {
  platform = await TestPlatform.start([script])
  worked = platform.client.run({ prompt: 'work' })
  await worked
})
afterAll(() => platform?.stop())

test('a trace has what the run waited for, asked and did, each within the other, with what it cost', async () => {
  const { spans, traceId, durationMs } = await worked.trace()
  expect(traceId).toBe(worked.id.replaceAll('-', ''))
  const of = (kind: Span['kind']): Span[] => spans.filter((span) => span.kind === kind)
  const [root] = of('run')
  expect(spans[0]).toBe(root)
  expect(root).toMatchObject({ status: 'ok', attributes: { 'vm0.outcome': 'succeeded' } })
  expect(spans.filter(({ status }) => status === 'open')).toEqual([])
  const [turn] = of('turn')
  const tools = of('tool')
  expect(tools.map(({ parentId, status }) => [parentId, status])).toEqual([
    [turn!.id, 'ok'],
    [turn!.id, 'error'],
  ])
  expect(tools[0]!.durationMs).toBeGreaterThan(250)
  expect(tools[1]!.attributes['process.exit.code']).toBe(2)
  const answers = of('model').filter(({ name }) => name.startsWith('chat'))
  expect(answers).toHaveLength(3)
  expect(answers[1]!.attributes).toMatchObject({
    'gen_ai.usage.input_tokens': 117,
    'gen_ai.usage.cache_read.input_tokens': 100,
  })
  const cost = answers.reduce((sum, { attributes }) => sum + Number(attributes['vm0.cost.usd']), 0)
  expect(cost).toBeCloseTo((await worked.get()).costUsd, 6)
  const { firstTokenMs, firstModelRequestMs } = (await worked.get()).timings
  const first = answers[0]!.attributes['gen_ai.response.time_to_first_chunk'] as number
  expect(Math.abs(first * 1000 - (firstTokenMs! - firstModelRequestMs!))).toBeLessThan(200)
  expect(of('checkpoint').length).toBeGreaterThan(0)
  // Both are tenths of a millisecond: what their sum has beyond is the arithmetic's.
  const end = (span: Span): number => Math.round((span.startMs + (span.durationMs ?? 0)) * 10) / 10
  for (const span of spans) expect(end(span)).toBeLessThanOrEqual(durationMs)
})

test("what a sub-agent asked and did lies within it: its calls follow its own requests, the agent's are outside", async () => {
  const run = platform.client.run({ prompt: 'send somebody' })
  await run
  const { spans } = await run.trace()
  const agent = spans.find(({ kind }) => kind === 'subagent') as Span
  const within = spans.filter(({ parentId }) => parentId === agent.id)
  expect(within.map(({ kind }) => kind)).toEqual(['model', 'tool', 'model'])
  const [first, call, second] = within as [Span, Span, Span]
  const end = (span: Span): number => span.startMs + (span.durationMs ?? Infinity)
  // Stamps of gateway and agent differ a little.
  expect(end(first)).toBeLessThan(call.startMs + 100)
  expect(second.startMs).toBeGreaterThan(end(call) - 100)
  expect(end(second)).toBeLessThan(end(agent) + 100)
  const turn = spans.find(({ kind }) => kind === 'turn') as Span
  const own = spans.filter(
    ({ kind, parentId, name }) => kind === 'model' && parentId === turn.id && /^chat ./.test(name),
  )
  expect(own.filter((span) => span.startMs > agent.startMs + 100 && end(span) < end(agent) - 100)).toEqual([])
  expect(own).toHaveLength(3)
})

test('it comes as OTLP and as a Chrome trace; who may not see the run gets none', async () => {
  const otlp = (await worked.trace({ format: 'otlp' })) as { resourceSpans: { scopeSpans: { spans: unknown[] }[] }[] }
  expect(otlp.resourceSpans[0]!.scopeSpans[0]!.spans).toHaveLength((await worked.trace()).spans.length)
  expect(await worked.trace({ format: 'perfetto' })).toHaveProperty('traceEvents')
  const wrong = await platform.fetch(`/v1/runs/${worked.id}/trace?format=nope`)
  expect([wrong.status, ((await wrong.json()) as { code: string }).code]).toEqual([400, 'INVALID_REQUEST'])
  const { client } = await platform.project('other')
  await expect(client.runs.get(worked.id).trace()).rejects.toMatchObject({ code: 'NOT_FOUND' })
})

test('vm0 trace draws it, and writes it to files', async () => {
  const id = worked.id.slice(-8)
  const drawn = await command(platform, ['trace', id], { env: { NO_COLOR: '1' } })
  const lines = drawn.stdout.split('\n')
  expect(lines[0]).toMatch(/^run [0-9a-f]{8} {3}succeeded {3}[\d.]+ m?s {3}\$\d+\.\d\d {3}trace [0-9a-f]{32}$/)
  expect(lines.find((line) => line.includes('Bash echo one'))).toMatch(/^│ ├ Bash .*█.* m?s$/)
  expect(lines.find((line) => line.includes('Bash ls'))).toMatch(/✗ exit 2$/)
  expect(objects(await command(platform, ['trace', id, '--json']))[0]).toMatchObject({ runId: worked.id })
  const [otlp, perfetto] = [join(platform.directory, 'otlp.json'), join(platform.directory, 'perfetto.json')]
  expect((await command(platform, ['trace', id, '--otlp', otlp, '--perfetto', perfetto])).stdout).toBe('')
  expect(JSON.parse(await readFile(otlp, 'utf8'))).toEqual(await worked.trace({ format: 'otlp' }))
  expect(JSON.parse(await readFile(perfetto, 'utf8'))).toEqual(await worked.trace({ format: 'perfetto' }))
})

test('the memory of the sandbox is told over the time of the run', async () => {
  const { memory, durationMs } = await worked.trace()
  expect(memory!.limitBytes).toBeGreaterThan(memory!.peakBytes)
  expect(memory!.peakBytes).toBeGreaterThan(50 * 1024 ** 2)
  for (const { atMs } of memory!.points) expect(atMs).toBeLessThanOrEqual(durationMs)
  const { traceEvents } = (await worked.trace({ format: 'perfetto' })) as { traceEvents: { ph: string }[] }
  expect(traceEvents.filter(({ ph }) => ph === 'C')).toHaveLength(memory!.points.length)
  const { stdout } = await command(platform, ['trace', worked.id.slice(-8)], { env: { NO_COLOR: '1' } })
  expect(stdout).toMatch(/\nmemory .*\npeak [\d.]+ MiB .*[▁-█]/)
})

test.runIf(chromium)(
  'a browser shows the page with all that was done, and nothing that was printed acts in it',
  async () => {
    const run = platform.client.run({ prompt: 'print <script>window.acted = "prompt"</script>' })
    expect((await run.result()).outcome).toBe('succeeded')
    const file = join(platform.directory, 'run.html')
    await command(platform, ['trace', run.id.slice(-8), '--html', file])
    const browser = await Browser.start(chromium!)
    try {
      await browser.open(`file://${file}`)
      const { spans } = await run.trace()
      expect(await browser.value('document.querySelectorAll(".axis i").length')).toBe(spans.length)
      const texts = (await browser.value('document.body.textContent')) as string
      expect(texts).toContain('</pre><script>window.acted = 1</script>')
      // oxlint-disable-next-line no-control-regex -- none may be there
      expect(texts).not.toMatch(/[\u0000-\u0008\u000B-\u001F\u007F-\u009F]/)
      const heights = '[...document.querySelectorAll(".memory i")].map((bar) => bar.offsetHeight)'
      expect(Math.max(...((await browser.value(heights)) as number[]))).toBeGreaterThan(20)
      // Each call opens, and shows what it printed.
      await browser.value('for (const each of document.querySelectorAll("summary")) each.click()')
      expect(await browser.value('document.querySelector("details pre").offsetHeight > 0')).toBe(true)
      expect(await browser.value('window.acted')).toBeUndefined()
      const acting = 'script, img, iframe, link, a, form, svg, object, [onclick], [onerror], [onload]'
      expect(await browser.value(`document.querySelectorAll("${acting}").length`)).toBe(0)
      expect(await browser.value('document.documentElement.scrollWidth <= window.innerWidth')).toBe(true)
      expect([browser.requests, browser.console]).toEqual([[`file://${file}`], []])
      if (process.env.VM0_PICTURE) await writeFile(process.env.VM0_PICTURE, await browser.picture())
    } finally {
      await browser.close()
    }
  },
)

const caller = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
const ofCaller = { traceId: '0af7651916cd43dd8448eb211c80319c', remoteParentId: 'b7ad6b7169203331' }

test("a run goes on with its caller's trace, told by header, body or environment; what is no traceparent is none", async () => {
  const create = (traceparent: string, body: object): Promise<Response> =>
    platform.fetch('/v1/runs', { method: 'POST', headers: { traceparent }, body: JSON.stringify(body) })
  const body = { prompt: 'work', id: crypto.randomUUID() }
  expect((await create(caller, body)).status).toBe(201)
  // The same request, sent again from the caller's next span.
  expect((await create(caller.replace('b7ad', 'b7ae'), body)).status).toBe(201)
  expect(await platform.client.runs.get(body.id).trace()).toMatchObject(ofCaller)
  const odd = { prompt: 'work', id: crypto.randomUUID() }
  expect((await create('00-nonsense', odd)).status).toBe(201)
  expect(await platform.client.runs.get(odd.id).trace()).toMatchObject({ remoteParentId: null })
  expect(await platform.client.run({ prompt: 'work', traceparent: caller }).trace()).toMatchObject(ofCaller)
  const [ids] = objects(
    await command(platform, ['run', '--detach', '--json', 'work'], { env: { TRACEPARENT: caller } }),
  )
  expect(await platform.client.runs.get(ids!.runId as string).trace()).toMatchObject(ofCaller)
  await expect(platform.client.run({ prompt: 'work', traceparent: 'x' })).rejects.toMatchObject({
    code: 'INVALID_REQUEST',
  })
})
