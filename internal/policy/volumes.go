package policy

import (
	"slices"

	"github.com/sampan-dev/sampan/api/v1alpha1"
	"github.com/sampan-dev/sampan/internal/podspec"
)

// volumeType names the field that is set; the API lets it be one.
func volumeType(v *v1alpha1.Volume) string {
	switch {
	case v.EmptyDir != nil:
		return VolumeEmptyDir
	case v.ConfigMap != nil:
		return VolumeConfigMap
	case v.Secret != nil:
		return VolumeSecret
	case v.PersistentVolumeClaim != nil:
		return VolumePersistentVolumeClaim
	case v.Ephemeral != nil:
		return VolumeEphemeral
	case v.CSI != nil:
		return VolumeCSI
	}
	return "none"
}

func (c *checker) volume(v *v1alpha1.Volume, path string) {
	if !podspec.Mountable(v.MountPath) {
		c.refuse(path+".mountPath", quoted(v.MountPath), "volumes", "cannot allow it: programs of the image, the workspace or Sampan's own files are there")
	}
	switch kind := volumeType(v); {
	case !slices.Contains(c.Volumes.Types, kind):
		c.refuse(path, kind, "volumes.types", "")
	case kind == VolumePersistentVolumeClaim && c.Volumes.Claims != nil && !matches(c.Volumes.Claims, v.PersistentVolumeClaim.ClaimName):
		c.refuse(path+".persistentVolumeClaim.claimName", quoted(v.PersistentVolumeClaim.ClaimName), "volumes.claims", "")
	case kind == VolumeCSI && c.Volumes.CSIDrivers != nil && !matches(c.Volumes.CSIDrivers, v.CSI.Driver):
		c.refuse(path+".csi.driver", quoted(v.CSI.Driver), "volumes.csiDrivers", "")
	}
}
