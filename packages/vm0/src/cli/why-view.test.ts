import { expect, test } from 'vitest'
import { noTimings, noUsage, type RunView, type Why } from '@vm0/contract'
import { whyLines } from './why-view.js'

const run: RunView = {
  id: '01980000-0000-7000-8000-00000000abcd',
  sessionId: '01980000-0000-7000-8000-000000005e55',
  state: 'died',
  reason: 'out_of_memory',
  framework: 'claude-code',
  agentVersion: null,
  model: null,
  labels: {},
  text: null,
  output: null,
  usage: noUsage,
  costUsd: 0.5,
  timings: { ...noTimings, totalMs: 12_300 },
  checkpoint: null,
  attempts: 1,
  error: null,
  createdAt: '2026-01-02T03:04:05.000Z',
  startedAt: null,
  endedAt: null,
}
const none = { some: 0, full: 0 }
const noMemory = { anonBytes: 0, fileBytes: 0, shmemBytes: 0, kernelBytes: 0 }
const seen = (command: string) => ({
  pid: 4711,
  parentPid: 1,
  command,
  cwd: '/workspace',
  state: 'D',
  ageMs: 5000,
  rssBytes: 3 * 1024 ** 3,
  peakRssBytes: 3 * 1024 ** 3,
  grewBytes: 2 * 1024 ** 3,
  cpuMs: 1200,
  threads: 1,
})
const why = (text: string): Why => ({
  runId: run.id,
  state: 'died',
  reason: 'out_of_memory',
  cause: text,
  certainty: 'inferred',
  culprit: { text, toolId: 't', command: text, runningMs: 1, lastOutput: [text] },
  next: [text, 'Or do less'],
  evidence: [{ text, cursor: '1.7' }],
  report: {
    cursor: '1.6',
    time: '2026-01-02T03:04:05.000Z',
    trigger: 'out_of_memory',
    action: 'stopped_run',
    blamed: {
      process: seen(text),
      processes: 1,
      rssBytes: 3 * 1024 ** 3,
      isAgent: false,
      openFiles: { count: 3, paths: [text] },
      lastOutput: [text],
    },
    scene: {
      memory: { ...noMemory, usedBytes: 4 * 1024 ** 3, limitBytes: 4 * 1024 ** 3, peakBytes: 4 * 1024 ** 3 },
      memoryCurve: [1, 2, 3, 4].map((part) => ({ beforeMs: 4000 - part * 1000, bytes: part * 1024 ** 3 })),
      processes: [seen(text)],
      processCount: 12,
      processLimit: 512,
      cpu: { share: 0.5, throttledMs: 0 },
      disk: { usedBytes: 1024, totalBytes: 1024 ** 2 },
      network: { receivedBytes: 0, sentBytes: 0 },
      pressure: { of: 'host', memory: none, cpu: none, io: none },
    },
    waiting: [],
    unanswered: [],
    uncommitted: { paths: [text, 'b.txt'], more: 2 },
  },
  findings: [
    {
      kind: 'cmd.killed',
      severity: 'warning',
      text,
      evidence: [{ text, cursor: '1.5' }],
      adjust: { where: 'resources', text: 'more' },
    },
  ],
  story: { line: text, paragraph: text, steps: [{ text, startMs: 0, durationMs: 5, cursors: ['1.1'] }] },
})

test('cause, culprit, last words and next step are the first five lines; what shows it follows', () => {
  expect(whyLines(why('so it was'), run)).toEqual([
    '✗ died (out_of_memory)   after 12 s   $0.50   run 0000abcd',
    '  cause     so it was (inferred from what was seen)',
    '  culprit   so it was',
    '  it said   so it was',
    '  next      so it was',
    '            Or do less',
    '',
    'shown by',
    '  so it was   event 1.7',
    '',
    'the sandbox then (out of memory)',
    '  ▃▅▇█ memory over the last 3.0 s',
    '  memory 4.0 GiB of 4.0 GiB (peak 4.0 GiB)   12 of 512 tasks   cpu 50%   disk 1.0 KiB of 1.0 MiB',
    '  ✗    3.0 GiB    +2.0 GiB/min    1.2 s D  so it was',
    '  open (3): so it was',
    '  not in a checkpoint then: so it was b.txt and 2 more',
    '',
    'worth changing',
    '  ! so it was cmd.killed, events 1.5',
    '    resources: more',
    '',
    'story',
    '  so it was',
    '       0 ms  so it was 5 ms',
  ])
})

test('nothing that an agent or a command wrote moves the cursor or begins a line', () => {
  for (const line of whyLines(why('\u001B[2J\u001B]0;x\u0007\r\nnext\u009B5m\u202E'), run))
    // oxlint-disable-next-line no-control-regex -- finding them is the purpose
    expect(line).not.toMatch(/[\u0000-\u001F\u007F-\u009F\u202E]/)
})
