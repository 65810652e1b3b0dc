// kafkajs through its public API: its npm package has no tests, so these cases are ours. They follow its own
// specification files: producer, consumer groups, transactions, admin.
//
//   BROKERS=HOST:PORT SASL=HOST:PORT node cases.mjs     prints `passed|failed<TAB>case` lines
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'

// The client is installed in the directory the run is started in.
const require = createRequire(process.cwd() + '/')
const { AclOperationTypes, AclPermissionTypes, AclResourceTypes, CompressionTypes, ConfigResourceTypes,
  Kafka, PartitionAssigners, ResourcePatternTypes, logLevel } = require('kafkajs')

const kafka = new Kafka({ brokers: [process.env.BROKERS], clientId: 'suite', logLevel: logLevel.NOTHING,
  retry: { retries: 8 } })
const unique = prefix => `${prefix}-${randomBytes(5).toString('hex')}`
const sleep = ms => new Promise(done => setTimeout(done, ms))
const range = count => [...Array(count).keys()]
const admin = kafka.admin()

async function until(check, what = 'it', seconds = 30) {
  for (const end = Date.now() + 1000 * seconds; Date.now() < end;) {
    const found = await check()
    if (found) return found
    await sleep(50)
  }
  assert.fail(`${what} did not come to pass in time`)
}

async function newTopic(partitions = 3, configEntries = []) {
  const topic = unique('topic')
  await admin.createTopics({ topics: [{ topic, numPartitions: partitions, replicationFactor: 1, configEntries }],
    waitForLeaders: true })
  return topic
}

async function send(topic, values, options = {}, settings = {}) {
  const producer = kafka.producer(settings)
  await producer.connect()
  const metadata = await producer.send({ topic, messages: values.map((value, i) => ({ key: `k${i}`, value })), ...options })
  await producer.disconnect()
  return metadata
}

/** A running consumer, and what it got. */
async function reader(topic, settings = {}, run = {}) {
  const consumer = kafka.consumer({ groupId: unique('group'), heartbeatInterval: 500, sessionTimeout: 10000,
    maxWaitTimeInMs: 200, ...settings })
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  const got = []
  const joined = new Promise(done => consumer.on(consumer.events.GROUP_JOIN, event => done(event.payload)))
  await consumer.run({ eachMessage: async ({ message, partition }) => { got.push({ ...message, partition }) }, ...run })
  return { consumer, got, joined }
}

const texts = messages => messages.map(message => message.value.toString())

const cases = {
  ...Object.fromEntries(['None', 'GZIP'].map(codec => [`producer: ${codec} comes back as it went`, async () => {
    const topic = await newTopic(1)
    const messages = range(100).map(i => ({ key: `k${i}`, value: `v${i}`.repeat(20), timestamp: `${1700000000000 + i}`,
      headers: { a: 'x', many: ['1', '2'] } }))
    const producer = kafka.producer()
    await producer.connect()
    const [place] = await producer.send({ topic, messages, compression: CompressionTypes[codec], acks: -1 })
    assert.equal(place.errorCode, 0)
    await producer.disconnect()
    const { consumer, got } = await reader(topic)
    await until(() => got.length === 100)
    got.forEach((message, i) => {
      assert.equal(message.offset, `${i}`)
      assert.equal(message.timestamp, messages[i].timestamp)
      assert.equal(message.key.toString(), messages[i].key)
      assert.equal(message.value.toString(), messages[i].value)
      assert.deepEqual(message.headers.many.map(String), ['1', '2'])
    })
    await consumer.disconnect()
  }])),

  ...Object.fromEntries([0, 1, -1].map(acks => [`producer: acks ${acks}`, async () => {
    const topic = await newTopic()
    await send(topic, range(50).map(String), { acks })
    const { consumer, got } = await reader(topic)
    await until(() => got.length === 50)
    await consumer.disconnect()
  }])),

  'producer: idempotent, in batches over topics': async () => {
    const topics = [await newTopic(), await newTopic()]
    const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
    await producer.connect()
    for (const round of range(10)) {
      await producer.sendBatch({ topicMessages: topics.map(topic => ({ topic, messages: range(20).map(i => ({ value: `${round * 20 + i}` })) })) })
    }
    await producer.disconnect()
    for (const topic of topics) {
      const { consumer, got } = await reader(topic)
      await until(() => got.length >= 200)
      assert.equal(new Set(texts(got)).size, 200)
      await consumer.disconnect()
    }
  },

  'producer: tombstones and empty values differ': async () => {
    const topic = await newTopic(1)
    const producer = kafka.producer()
    await producer.connect()
    await producer.send({ topic, messages: [{ key: 'a', value: null }, { key: 'b', value: '' }] })
    await producer.disconnect()
    const { consumer, got } = await reader(topic)
    await until(() => got.length === 2)
    assert.equal(got[0].value, null)
    assert.equal(got[1].value.length, 0)
    await consumer.disconnect()
  },

  'producer: a message that is too large': async () => {
    const topic = await newTopic(1, [{ name: 'max.message.bytes', value: '1000' }])
    await assert.rejects(send(topic, ['x'.repeat(5000)]), { type: 'MESSAGE_TOO_LARGE' })
  },

  'producer: a topic that is made by asking for it': async () => {
    const topic = unique('auto')
    await send(topic, ['x'])
    assert((await admin.listTopics()).includes(topic))
  },

  'consumer: goes on where it committed': async () => {
    const topic = await newTopic(1)
    const groupId = unique('group')
    await send(topic, range(10).map(String))
    const first = await reader(topic, { groupId }, { autoCommit: false })
    await until(() => first.got.length === 10)
    await first.consumer.commitOffsets([{ topic, partition: 0, offset: '4', metadata: 'here' }])
    await first.consumer.disconnect()
    const [kept] = await admin.fetchOffsets({ groupId, topics: [topic] })
    assert.deepEqual(kept.partitions, [{ partition: 0, offset: '4', metadata: 'here' }])
    const second = await reader(topic, { groupId })
    await until(() => second.got.length === 6)
    assert.deepEqual(texts(second.got), ['4', '5', '6', '7', '8', '9'])
    await second.consumer.disconnect()
  },

  'consumer: batches, seek, pause and resume': async () => {
    const topic = await newTopic(1)
    await send(topic, range(20).map(String))
    const got = []
    const { consumer } = await reader(topic, {}, {
      eachMessage: undefined,
      eachBatchAutoResolve: true,
      eachBatch: async ({ batch }) => { got.push(...batch.messages.map(message => +message.offset)); assert.equal(batch.highWatermark, '20') },
    })
    await until(() => got.length === 20)
    consumer.seek({ topic, partition: 0, offset: '15' })
    await until(() => got.length === 25)
    assert.deepEqual(got.slice(20), [15, 16, 17, 18, 19])
    consumer.pause([{ topic }])
    await sleep(300)
    await send(topic, ['late'])
    await sleep(700)
    assert.equal(got.length, 25)
    consumer.resume([{ topic }])
    await until(() => got.length >= 26, 'resuming')
    await consumer.disconnect()
  },

  'consumer: members share and take over': async () => {
    const topic = await newTopic(4)
    const groupId = unique('group')
    const members = []
    for (const _ of range(3)) members.push(await reader(topic, { groupId, partitionAssigners: [PartitionAssigners.roundRobin] }))
    await until(async () => {
      const { groups: [group] } = await admin.describeGroups([groupId])
      return group.state === 'Stable' && group.members.length === 3
    }, 'three members')
    await send(topic, range(400).map(String))
    await until(() => members.reduce((sum, member) => sum + member.got.length, 0) >= 400, 'all messages')
    assert.equal(new Set(members.flatMap(member => texts(member.got))).size, 400)
    assert(members.every(member => member.got.length > 0))
    await members[0].consumer.disconnect()
    const before = members[1].got.length + members[2].got.length
    await send(topic, range(100).map(i => `more${i}`))
    await until(() => members[1].got.length + members[2].got.length >= before + 100, 'taking over')
    await Promise.all(members.slice(1).map(member => member.consumer.disconnect()))
  },

  'consumer: a regular expression': async () => {
    const prefix = unique('re')
    const topics = [`${prefix}-a`, `${prefix}-b`]
    await admin.createTopics({ topics: topics.map(topic => ({ topic })), waitForLeaders: true })
    for (const topic of topics) await send(topic, [topic])
    const { consumer, got } = await reader(new RegExp(`^${prefix}-.*`))
    await until(() => got.length === 2)
    assert.deepEqual(texts(got).sort(), topics)
    await consumer.disconnect()
  },

  'transactions: committed is read, aborted is not': async () => {
    const topic = await newTopic(1)
    const producer = kafka.producer({ transactionalId: unique('txn'), idempotent: true, maxInFlightRequests: 1 })
    await producer.connect()
    for (const [name, end] of [['a', 'commit'], ['b', 'abort'], ['c', 'commit']]) {
      const transaction = await producer.transaction()
      await transaction.send({ topic, messages: range(10).map(i => ({ value: `${name}${i}` })) })
      await transaction[end]()
    }
    await producer.disconnect()
    const committed = await reader(topic)
    await until(() => committed.got.length === 20)
    await sleep(500)
    assert.deepEqual(texts(committed.got), ['a', 'c'].flatMap(name => range(10).map(i => `${name}${i}`)))
    await committed.consumer.disconnect()
    const all = await reader(topic, { readUncommitted: true })
    await until(() => all.got.length === 30)
    await all.consumer.disconnect()
  },

  'transactions: offsets are part of them': async () => {
    const topic = await newTopic(1)
    const consumerGroupId = unique('group')
    const producer = kafka.producer({ transactionalId: unique('txn'), idempotent: true, maxInFlightRequests: 1 })
    await producer.connect()
    for (const [offset, end] of [['3', 'commit'], ['7', 'abort']]) {
      const transaction = await producer.transaction()
      await transaction.send({ topic, messages: [{ value: offset }] })
      await transaction.sendOffsets({ consumerGroupId, topics: [{ topic, partitions: [{ partition: 0, offset }] }] })
      await transaction[end]()
    }
    await producer.disconnect()
    const [kept] = await admin.fetchOffsets({ groupId: consumerGroupId, topics: [topic] })
    assert.equal(kept.partitions[0].offset, '3')
  },

  'transactions: an open one holds readers back': async () => {
    const topic = await newTopic(1)
    const producer = kafka.producer({ transactionalId: unique('txn'), idempotent: true, maxInFlightRequests: 1 })
    await producer.connect()
    const transaction = await producer.transaction()
    await transaction.send({ topic, messages: [{ value: 'open' }] })
    await send(topic, ['after'])
    const { consumer, got } = await reader(topic)
    await sleep(1500)
    assert.equal(got.length, 0)
    await transaction.commit()
    await until(() => got.length === 2)
    assert.deepEqual(texts(got), ['open', 'after'])
    await consumer.disconnect()
    await producer.disconnect()
  },

  'admin: topics and partitions': async () => {
    const topic = await newTopic(2)
    assert.equal(await admin.createTopics({ topics: [{ topic }] }), false, 'it is there')
    await admin.createPartitions({ topicPartitions: [{ topic, count: 5 }] })
    const { topics: [described] } = await admin.fetchTopicMetadata({ topics: [topic] })
    assert.equal(described.partitions.length, 5)
    await admin.deleteTopics({ topics: [topic] })
    await until(async () => !(await admin.listTopics()).includes(topic))
    await assert.rejects(admin.createTopics({ topics: [{ topic: 'no such name!' }] }))
  },

  'admin: settings': async () => {
    const topic = await newTopic()
    const of = async () => {
      const { resources: [{ configEntries }] } = await admin.describeConfigs({ includeSynonyms: true,
        resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configNames: ['retention.ms'] }] })
      return configEntries[0]
    }
    assert.equal((await of()).configValue, '604800000')
    await admin.alterConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries: [{ name: 'retention.ms', value: '5000' }] }] })
    assert.equal((await of()).configValue, '5000')
    const { brokers: [{ nodeId }] } = await admin.describeCluster()
    const { resources: [broker] } = await admin.describeConfigs({ resources: [{ type: ConfigResourceTypes.BROKER, name: `${nodeId}` }] })
    assert(broker.configEntries.length > 150)
  },

  'admin: offsets by time, and deleting records': async () => {
    const topic = await newTopic(1)
    const producer = kafka.producer()
    await producer.connect()
    await producer.send({ topic, messages: range(10).map(i => ({ value: `${i}`, timestamp: `${1700000000000 + 1000 * i}` })) })
    await producer.disconnect()
    assert.deepEqual((await admin.fetchTopicOffsetsByTimestamp(topic, 1700000004500)).map(place => place.offset), ['5'])
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '6' }] })
    const [place] = await admin.fetchTopicOffsets(topic)
    assert.deepEqual([place.low, place.high], ['6', '10'])
  },

  'admin: groups': async () => {
    const topic = await newTopic(1)
    const groupId = unique('group')
    await send(topic, range(10).map(String))
    const { consumer, got } = await reader(topic, { groupId })
    await until(() => got.length === 10)
    const { groups } = await admin.listGroups()
    assert.equal(groups.find(group => group.groupId === groupId).protocolType, 'consumer')
    await assert.rejects(admin.deleteGroups([groupId]))
    await consumer.disconnect()
    await admin.setOffsets({ groupId, topic, partitions: [{ partition: 0, offset: '2' }] })
    assert.equal((await admin.fetchOffsets({ groupId, topics: [topic] }))[0].partitions[0].offset, '2')
    await admin.resetOffsets({ groupId, topic, earliest: true })
    await admin.deleteGroups([groupId])
    assert(!(await admin.listGroups()).groups.some(group => group.groupId === groupId))
  },

  'admin: rights': async () => {
    const acl = { resourceType: AclResourceTypes.TOPIC, resourceName: unique('acl'), resourcePatternType: ResourcePatternTypes.LITERAL,
      principal: 'User:ann', host: '*', operation: AclOperationTypes.READ, permissionType: AclPermissionTypes.ALLOW }
    await admin.createAcls({ acl: [acl] })
    const { resources } = await admin.describeAcls(acl)
    assert.equal(resources[0].acls[0].principal, 'User:ann')
    const { filterResponses } = await admin.deleteAcls({ filters: [acl] })
    assert.equal(filterResponses[0].matchingAcls.length, 1)
  },

  ...Object.fromEntries(['plain', 'scram-sha-256', 'scram-sha-512'].map(mechanism => [`login: ${mechanism}`, async () => {
    const settings = password => ({ brokers: [process.env.SASL], logLevel: logLevel.NOTHING, retry: { retries: 1 },
      sasl: { mechanism, username: 'suite', password } })
    const known = new Kafka(settings('secret')).admin()
    await known.connect()
    await known.listTopics()
    await known.disconnect()
    await assert.rejects(new Kafka(settings('wrong')).admin().connect())
  }])),
}

await admin.connect()
for (const [name, run] of Object.entries(cases)) {
  if (process.argv[2] && !name.includes(process.argv[2])) continue
  const begun = Date.now()
  let status = 'passed'
  try {
    await run()
  } catch (error) {
    status = 'failed'
    console.error(`${name} (${Date.now() - begun} ms): ${error.stack}`)
  }
  console.log(`${status}\t${name}`)
}
// A failed case may have left a consumer running.
process.exit(0)
