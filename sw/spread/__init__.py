"""Many jobs that do not need each other, in processes of this machine or of a cluster (Dask): none
is done twice, and what is done stays done, whenever all of it is broken off.
"""
