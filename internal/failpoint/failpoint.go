// Package failpoint names the places where a crash is tried out. In a normal
// build a point is an empty function and costs nothing; with the build tag
// `failpoint` it counts its hits and can kill the process.
//
// Two environment variables steer a build with the tag:
//
//	CAIRN_FAILPOINT_FILE  the file the counts are kept in; empty: they are not kept
//	CAIRN_FAILPOINT       name:N kills the process with SIGKILL at its N-th hit of the point
//
// The file is mapped into memory and shared: what was counted before a SIGKILL
// is in it, and the processes that come one after the other add to the same
// counts. [Read] reads it and works in every build.
package failpoint

import "slices"

// Names of all points. A point that is hit but not listed here does not
// compile; one that is listed but never hit fails the torture test.
const (
	BeatBefore      Point = "lease.beat.before"
	BeatAfter       Point = "lease.beat.after"
	ClaimBefore     Point = "claim.before"
	ClaimAfter      Point = "claim.after"
	LoadBefore      Point = "load.before"
	LoadAfter       Point = "load.after"
	TakeoverStepped Point = "takeover.stepped"
	InboxRead       Point = "inbox.read"
	StepBefore      Point = "step.before"
	StepAfter       Point = "step.after"
	CommitBefore    Point = "commit.before"
	CommitAfter     Point = "commit.after"
	CommitStart     Point = "commit.start"    // the first commit of a session
	CommitModel     Point = "commit.model"    // records a model's answer
	CommitTool      Point = "commit.tool"     // records a tool's outcome
	CommitStarted   Point = "commit.started"  // records tool_call.started
	CommitAsk       Point = "commit.ask"      // opens an ask
	CommitDecision  Point = "commit.decision" // records a decision
	CommitEnd       Point = "commit.end"      // ends a run
	CommitRetry     Point = "commit.retry"
	CommitUnknown   Point = "commit.unknown"
	CommitReconcile Point = "commit.reconcile"
	CommitRelease   Point = "commit.release"
	ReleaseAfter    Point = "release.after"
	GroupBegin      Point = "sqlite.group.begin"
	GroupHead       Point = "sqlite.group.head"
	GroupFrame      Point = "sqlite.group.frame"
	GroupInbox      Point = "sqlite.group.inbox"
	GroupAsk        Point = "sqlite.group.ask"
	GroupBeforeSync Point = "sqlite.group.commit.before"
	GroupAfterSync  Point = "sqlite.group.commit.after"
	Checkpoint      Point = "sqlite.checkpoint"
	DeliverBefore   Point = "deliver.before"
	DeliverAfter    Point = "deliver.after"
	DrawBefore      Point = "draw.before"
	DrawAfter       Point = "draw.after"
	BlobBefore      Point = "blob.put.before"
	BlobRename      Point = "blob.put.rename"
	BlobAfter       Point = "blob.put.after"
	PerformBefore   Point = "perform.before"
	ModelBefore     Point = "model.call.before"
	ModelFirst      Point = "model.call.first_delta"
	ModelAfter      Point = "model.call.after"
	ToolBefore      Point = "tool.call.before"
	ToolAfter       Point = "tool.call.after"
	ReconcileBefore Point = "reconcile.before"
	ReconcileAfter  Point = "reconcile.after"
	TimerFired      Point = "timer.fired"
	SnapshotBefore  Point = "snapshot.before"
	SnapshotAfter   Point = "snapshot.after"

	SandboxCreateBefore  Point = "sandbox.create.before"
	SandboxCreateAfter   Point = "sandbox.create.after"
	SandboxStartBefore   Point = "sandbox.start.before"
	SandboxStartAfter    Point = "sandbox.start.after"
	SandboxDestroyBefore Point = "sandbox.destroy.before"
	SandboxDestroyAfter  Point = "sandbox.destroy.after"

	// Those of package workspace, by the names it calls them.
	WorkspaceImportEntry      Point = "workspace.import.entry"
	WorkspaceImportSync       Point = "workspace.import.sync"
	WorkspaceImportRename     Point = "workspace.import.rename"
	WorkspaceCheckoutDiscard  Point = "workspace.checkout.discard"
	WorkspaceCheckoutUpper    Point = "workspace.checkout.upper"
	WorkspaceSquashRename     Point = "workspace.squash.rename"
	WorkspaceSnapshotScan     Point = "workspace.snapshot.scan"
	WorkspaceSnapshotCopy     Point = "workspace.snapshot.copy"
	WorkspaceSnapshotManifest Point = "workspace.snapshot.manifest"
	WorkspaceSnapshotRename   Point = "workspace.snapshot.rename"
	WorkspaceSnapshotSync     Point = "workspace.snapshot.sync"
	WorkspaceSnapshotDone     Point = "workspace.snapshot.done"
)

// Point is the name of a failpoint.
type Point string

// Points returns all points in the order they are listed.
func Points() []Point { return slices.Clone(points[:]) }

// points repeats the list above: Go cannot range over constants, and a test
// compares the two.
var points = [...]Point{
	BeatBefore, BeatAfter, ClaimBefore, ClaimAfter, LoadBefore, LoadAfter, TakeoverStepped, InboxRead,
	StepBefore, StepAfter, CommitBefore, CommitAfter, CommitStart, CommitModel, CommitTool,
	CommitStarted, CommitAsk, CommitDecision, CommitEnd, CommitRetry, CommitUnknown, CommitReconcile,
	CommitRelease, ReleaseAfter, GroupBegin, GroupHead, GroupFrame, GroupInbox, GroupAsk,
	GroupBeforeSync, GroupAfterSync, Checkpoint, DeliverBefore, DeliverAfter, DrawBefore, DrawAfter,
	BlobBefore, BlobRename, BlobAfter, PerformBefore, ModelBefore, ModelFirst, ModelAfter, ToolBefore,
	ToolAfter, ReconcileBefore, ReconcileAfter, TimerFired, SnapshotBefore, SnapshotAfter,
	SandboxCreateBefore, SandboxCreateAfter, SandboxStartBefore, SandboxStartAfter,
	SandboxDestroyBefore, SandboxDestroyAfter,
	WorkspaceImportEntry, WorkspaceImportSync, WorkspaceImportRename, WorkspaceCheckoutDiscard, WorkspaceCheckoutUpper, WorkspaceSquashRename, WorkspaceSnapshotScan, WorkspaceSnapshotCopy, WorkspaceSnapshotManifest, WorkspaceSnapshotRename, WorkspaceSnapshotSync, WorkspaceSnapshotDone,
}
