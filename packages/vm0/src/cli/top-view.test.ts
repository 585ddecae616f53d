import type { LiveSandbox } from '@vm0/contract'
import { expect, test } from 'vitest'
import { topLines } from './top-view.js'

const MiB = 1024 ** 2
const sandbox: LiveSandbox = {
  sandboxId: 'a',
  sessionId: '01980000-0000-7000-8000-000000005e55',
  runId: '01980000-0000-7000-8000-00000000abcd',
  state: 'working',
  doing: 'Bash npm test',
  doingMs: 9_000,
  memoryBytes: 512 * MiB,
  memoryLimitBytes: 2048 * MiB,
  cpuShare: 1.5,
  processes: 7,
  sentBytes: 3 * MiB,
  receivedBytes: 9 * MiB,
}
const host = {
  id: 'r',
  sessions: 3,
  frozen: 1,
  reclaimed: 0,
  reclaimedBytes: 0,
  warm: 2,
  prepared: 1,
  maxSandboxes: 16,
}

test('who waits for a person first, then those at work, the largest first; then those that rest', () => {
  const rests = { ...sandbox, runId: null, doing: null, doingMs: null, cpuShare: 0 }
  const lines = topLines(
    [
      { ...rests, state: 'reclaimed', memoryBytes: 9 * MiB },
      { ...rests, state: 'frozen' },
      sandbox,
      { ...sandbox, memoryBytes: 900 * MiB, doing: 'model', doingMs: 400 },
      { ...rests, state: 'waiting' },
    ],
    host,
    120,
  )
  expect(lines).toEqual([
    '5 sandboxes   2 at work   2.4 GiB   cpu 300%   2 warm   room for 16',
    'RUN       SESSION   STATE                   MEMORY    CPU  PROCS       SENT  DOING',
    '-         00005e55  waiting      512.0 MiB/2.0 GiB     0%      7    3.0 MiB',
    '0000abcd  00005e55  working      900.0 MiB/2.0 GiB   150%      7    3.0 MiB  model 400 ms',
    '0000abcd  00005e55  working      512.0 MiB/2.0 GiB   150%      7    3.0 MiB  Bash npm test 9.0 s',
    '-         00005e55  frozen       512.0 MiB/2.0 GiB     0%      7    3.0 MiB',
    '-         00005e55  reclaimed      9.0 MiB/2.0 GiB     0%      7    3.0 MiB',
  ])
})

test('what an agent does can’t move the cursor', () => {
  for (const line of topLines([{ ...sandbox, doing: 'Bash \u001B[2J\u001B]0;x\u0007\r\nx\u009B5m' }], host, 80))
    // oxlint-disable-next-line no-control-regex -- finding them is the purpose
    expect(line).not.toMatch(/[\u0000-\u001F\u007F-\u009F]/)
})
