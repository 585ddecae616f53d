import fc from 'fast-check'
import { expect, test } from 'vitest'
import { mayReach } from './addresses.js'
import { choose, defaultBounds, fullProjects, type Due } from './choose.js'
import { hostsOf } from './resolve.js'
import { redactStrings } from './run-message.js'
import { giveUpAfterMs, pauseBefore } from './schedule.js'

test.each([
  ['8.8.8.8', true, true],
  ['2606:4700::1111', true, true],
  ['127.0.0.1', false, true],
  ['10.1.2.3', false, true],
  ['172.31.255.255', false, true],
  ['192.168.1.1', false, true],
  ['100.64.0.1', false, true],
  ['::1', false, true],
  ['fd00:ec2::254', false, true],
  ['2002:7f00:1::', false, true],
  ['::ffff:127.0.0.1', false, true],
  ['64:ff9b::a00:1', false, true],
  ['::ffff:8.8.8.8', true, true],
  ['169.254.169.254', false, false],
  ['::ffff:169.254.169.254', false, false],
  ['::ffff:a9fe:a9fe', false, false],
  ['fe80::1', false, false],
  ['0.0.0.0', false, false],
  ['::', false, false],
  ['255.255.255.255', false, false],
  ['224.0.0.1', false, false],
  ['not an address', false, false],
  ['', false, false],
])('%s is reached: of public ones alone %s, of any %s', (address, isPublic, isAny) => {
  expect([mayReach(address, 'public'), mayReach(address, 'any')]).toEqual([isPublic, isAny])
})

test('whatever is reached as public is reached where any may be; a mapped address is as the one that it stands for', () => {
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (address) => {
      if (mayReach(address, 'public')) expect(mayReach(address, 'any')).toBe(true)
    }),
  )
  fc.assert(
    fc.property(fc.ipV4(), (address) => {
      for (const targets of ['public', 'any'] as const)
        expect(mayReach(`::ffff:${address}`, targets)).toBe(mayReach(address, targets))
    }),
  )
})

test('pauses grow to an hour, are never the same for all, and end a day after the message was queued', () => {
  const pauses = [1, 2, 3, 4, 5, 6, 7, 8, 9, 100].map((attempts) => pauseBefore({ attempts, ageMs: 0 }, 1))
  expect(pauses).toEqual([1000, 3000, 9000, 27_000, 81_000, 243_000, 729_000, 2_187_000, 3_600_000, 3_600_000])
  expect(pauseBefore({ attempts: 3, ageMs: 0 }, 0)).toBe(4500)
  expect(pauseBefore({ attempts: 30, ageMs: giveUpAfterMs - 1000 }, 0)).toBeUndefined()
  expect(pauseBefore({ attempts: 1, ageMs: giveUpAfterMs - 1000 }, 0)).toBe(500)
})

const dueSchema = fc.record({
  projectId: fc.constantFrom('a', 'b', 'c'),
  webhookId: fc.constantFrom('1', '2', '3'),
  id: fc.uuid(),
})

test('no more is on its way than there is room for; what is left out has no room', () => {
  const bounds = { all: 6, perProject: 3, perWebhook: 2 }
  const counts = (all: Due[]) => ({
    all: all.length,
    project: (one: Due) => all.filter(({ projectId }) => projectId === one.projectId).length,
    webhook: (one: Due) =>
      all.filter(({ projectId, webhookId }) => projectId === one.projectId && webhookId === one.webhookId).length,
  })
  fc.assert(
    fc.property(fc.array(dueSchema), fc.array(dueSchema), (before, due) => {
      const onTheWay = choose(before, [], bounds)
      const all = [...onTheWay, ...choose(due, onTheWay, bounds)]
      const now = counts(all)
      expect(now.all).toBeLessThanOrEqual(bounds.all)
      for (const one of all) {
        expect(now.project(one)).toBeLessThanOrEqual(bounds.perProject)
        expect(now.webhook(one)).toBeLessThanOrEqual(bounds.perWebhook)
      }
      for (const one of due.filter((each) => !all.includes(each)))
        expect(
          now.all === bounds.all || now.project(one) === bounds.perProject || now.webhook(one) === bounds.perWebhook,
        ).toBe(true)
      for (const project of fullProjects(all, bounds)) expect(now.project({ projectId: project } as Due)).toBe(3)
    }),
  )
  // One project whose receivers all hang leaves room for others.
  expect(defaultBounds.perProject * 4).toBeLessThan(defaultBounds.all)
})

test('a hosts file is read as the system does', () => {
  const hosts = hostsOf(
    '127.0.0.1 localhost\n::1\tlocalhost ip6-localhost # here\n# 10.0.0.1 no\n10.0.0.2 Builder\nx y\n',
  )
  expect([...hosts]).toEqual([
    ['localhost', ['127.0.0.1', '::1']],
    ['ip6-localhost', ['::1']],
    ['builder', ['10.0.0.2']],
  ])
})

test('texts are changed wherever they are, names of members and numbers are not', () => {
  const value = { token: 'a token', list: ['token', 3, null, { token: true }] }
  expect(redactStrings(value, (text) => text.replace('token', 'x'))).toEqual({
    token: 'a x',
    list: ['x', 3, null, { token: true }],
  })
})
