import { memoryBed, processBed } from './forwarder.bed.ts'
import { forwarderSuite } from './forwarder.suite.ts'

forwarderSuite('in memory', memoryBed)
forwarderSuite('a process', processBed)
