import fc from 'fast-check'
import { expect, test } from 'vitest'
import { recordOf } from '../record/run-record.js'
import { RunLog } from '../run-log.test.fixture.js'
import { traceOf } from '../trace/trace-builder.js'
import { whyOf } from '../why/why.js'
import { CallTexts } from './call-texts.js'
import { htmlOf } from './page.js'

function pageOf(log: RunLog): string {
  const texts = new CallTexts()
  for (const event of log.events) texts.add(event)
  const { run, events } = log
  return htmlOf({ run, trace: traceOf(run, events), why: whyOf(recordOf(events), run, { prompt: 'a & b' }), texts })
}

/** The tags that the page has by itself. */
const own = new Set(
  'html head meta title style body header h1 h2 p dl div dt dd ul ol li span i b br details summary pre footer'.split(
    ' ',
  ),
)

const hostile = fc.oneof(
  fc.constantFrom(
    '<script>alert(1)</script>',
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    '</pre></details><svg/onload=alert(1)>',
    '<!--',
    ']]>',
    '\u001B[31mred\u0007',
    '\u202Ereversed',
    '</style><link rel=stylesheet href=//evil>',
  ),
  fc.string({ unit: 'binary' }),
)

test('whatever agents and programs write is text: no tag, no attribute, no control character of theirs', () => {
  fc.assert(
    fc.property(hostile, hostile, hostile, (command, output, words) => {
      const log = new RunLog().begin().bash(command || 'x', output, 1)
      log.add({ type: 'message', messageId: 'm', text: words }).turnEnds(words).end('failed', 'agent_failed', {
        code: 'AGENT_FAILED',
        message: words,
        hint: words,
      })
      const page = pageOf(log)
      for (const [, tag] of page.matchAll(/<\/?([a-zA-Z!][^\s>]*)/g))
        expect(own.has(tag!) || tag === '!doctype').toBe(true)
      expect(page).not.toMatch(/<[^>]*\son\w+=/)
      expect(page).not.toMatch(/<(?:script|img|link|iframe|a|form|svg|object)\b/i)
      // oxlint-disable-next-line no-control-regex -- none may be left
      expect(page).not.toMatch(/[\u0000-\u0008\u000B-\u001F\u007F-\u009F\u202A-\u202E\u2066-\u2069]/)
    }),
  )
})

test('the page has the verdict, what it cost, the story, each call with what it said, and fetches nothing', () => {
  const log = new RunLog().begin().model({ inputTokens: 10, outputTokens: 5 }).bash('npm test', '1 of 3 failed', 1)
  const page = pageOf(
    log.turnEnds('gave up').end('failed', 'max_turns', { code: 'MAX_TURNS', message: 'too many', hint: '' }),
  )
  for (const part of ['✗ failed: max turns', '<dt>cost</dt>', 'a &amp; b', '1 of 3 failed', '✗ exit 1', 'gave up'])
    expect(page).toContain(part)
  expect(page).toContain("default-src 'none'")
  expect(page).not.toMatch(/https?:|src=|href=|url\(/)
})

test('the memory of the sandbox is a row below the spans', () => {
  const since = new RunLog().begin().events[0]!.time
  const points = [0, 5, 10].map((afterMs) => ({ afterMs, bytes: (afterMs + 1) * 1024 ** 2 }))
  const log = new RunLog().begin().add({ type: 'sandbox.memory', since, limitBytes: 512 * 1024 ** 2, points })
  const page = pageOf(log.turnEnds().end())
  expect(page).toContain('peak 11 MiB of 512 MiB')
  expect(page).toContain('<i style="height:100.0%"></i>')
})

test('a long output keeps its ends and says what is left out; a page does not grow without end', () => {
  const long = `first ${'x'.repeat(100_000)} last`
  const page = pageOf(new RunLog().begin().bash('cat big', long).turnEnds().end())
  expect(page).toContain('first xxx')
  expect(page).toContain('xxx last')
  expect(page).toContain('characters in the middle are left out')
  const many = new RunLog().begin()
  for (let call = 0; call < 600; call += 1) many.bash(`cat ${call}`, 'y'.repeat(20_000))
  const big = pageOf(many.turnEnds().end())
  expect(big.length).toBeLessThan(12 * 1024 ** 2)
  expect(big).toContain('Inputs and outputs of later calls are left out')
})

test('a change is told once, below its finding, and an option is not named twice', () => {
  const log = new RunLog().begin().bash('make', 'No space left on device', 1).turnEnds()
  const page = pageOf(log.end('failed', 'agent_failed', { code: 'AGENT_FAILED', message: 'x', hint: 'y' }))
  expect(page.match(/resources: \{ diskMiB: &lt;twice/g)).toHaveLength(1)
  expect(page).not.toContain('resources: resources')
})
