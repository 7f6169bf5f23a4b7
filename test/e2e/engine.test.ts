import { engineSuite } from '../conformance/engine.suite.ts'
import { dockerBed } from './engine.bed.ts'

engineSuite('the Docker engine', dockerBed)
