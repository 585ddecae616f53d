import type { LogEntry } from '@vm0/contract'
import { expect, test } from 'vitest'
import { timelineHead, timelineLine } from './timeline-view.js'

const entry: LogEntry = {
  cursor: '1.1-1',
  time: '2026-01-01T10:11:12.345Z',
  source: 'runner',
  level: 'info',
  text: 'the run was taken',
  runId: 'r',
  sessionId: 's',
  traceId: 't',
  details: { epoch: 1 },
}

test('an entry is one line: when, by whom, how grave, what', () => {
  expect(timelineHead(entry)).toBe('run r   session s   trace t')
  expect(timelineLine(entry)).toBe('10:11:12.345 runner    the run was taken  epoch=1')
  expect(timelineLine({ ...entry, level: 'error', source: 'sandbox', details: {} })).toBe(
    '10:11:12.345 sandbox ✗ the run was taken',
  )
})

test('what others wrote is text, wherever it stands', () => {
  const line = timelineLine({ ...entry, text: 'a\u001b[2Jb\r\nc\u0007', details: { x: '\u001b]0;title\u0007y\n' } })
  // oxlint-disable-next-line no-control-regex -- none may be there
  expect(line).not.toMatch(/[\u0000-\u001f]/)
  expect(line).toMatch(/ab c/)
})

test('pieces that come again whole are left out', () => {
  const event = { type: 'message.delta', messageId: 'm', text: 'x' } as unknown as NonNullable<LogEntry['event']>
  expect(timelineLine({ ...entry, event })).toBeUndefined()
})
