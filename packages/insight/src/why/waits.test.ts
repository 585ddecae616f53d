import { expect, test } from 'vitest'
import { isPrivate, waitOf } from './waits.js'

const process = (pid: number, parentPid: number, state: string, place: string, command = `c${pid}`) => ({
  process: {
    pid,
    parentPid,
    command,
    cwd: '/workspace',
    state,
    ageMs: 1000 - pid,
    rssBytes: 0,
    peakRssBytes: 0,
    grewBytes: 0,
    cpuMs: 0,
    threads: 1,
  },
  place,
})
const agent = process(10, 1, 'S', 'ep_poll', 'claude')
const shell = process(11, 10, 'S', 'do_wait')

test.each([
  ['S', 'futex_wait_queue', 'lock'],
  ['S', 'locks_lock_inode_wait', 'lock'],
  ['S', 'anon_pipe_read', 'input'],
  ['S', 'n_tty_read', 'input'],
  ['S', 'hrtimer_nanosleep', 'sleep'],
  ['S', 'inet_csk_accept', 'network'],
  ['S', 'unix_stream_read_generic', 'network'],
  ['T', 'do_signal_stop', 'stopped'],
  ['R', '', 'computing'],
  ['S', 'something_new', 'unknown'],
])('the innermost process decides: %s in %s is %s', (state, place, on) => {
  expect(waitOf({ waiting: [agent, shell, process(12, 11, state, place)] }, false)).toMatchObject({ on })
})

test('an agent with nothing below it waits for its model, where it has asked it', () => {
  expect(waitOf({ waiting: [agent] }, true).on).toBe('model')
  expect(waitOf({ waiting: [agent] }, false).on).toBe('unknown')
  expect(waitOf({ waiting: [process(10, 1, 'T', '')] }, true).on).toBe('stopped')
  expect(waitOf({}, false).on).toBe('unknown')
})

test('a connection that nobody answers goes before the place', () => {
  const waits = { waiting: [agent, process(12, 10, 'S', 'wait_woken')], unanswered: ['10.0.0.5:5432'] }
  expect(waitOf(waits, false)).toEqual({
    on: 'network',
    text: '`c12` waited for 10.0.0.5:5432, where nobody answers: it is a private address, and sandboxes reach none',
  })
  expect(waitOf({ ...waits, unanswered: ['8.8.8.8:53'] }, false).text).toBe(
    '`c12` waited for 8.8.8.8:53, where nobody answers',
  )
})

test('which addresses are private', () => {
  for (const address of [
    '10.0.0.1',
    '127.0.0.1',
    '172.16.0.1',
    '172.31.9.9',
    '192.168.1.1',
    '169.254.1.1',
    '100.64.0.1',
  ])
    expect([address, isPrivate(address)]).toEqual([address, true])
  for (const address of ['8.8.8.8', '172.15.0.1', '172.32.0.1', '100.63.0.1', '100.128.0.1', '192.169.0.1'])
    expect([address, isPrivate(address)]).toEqual([address, false])
})
